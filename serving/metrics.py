"""Prometheus figures, read from the database when asked, so that every process may serve them."""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from dicom_node.archive import Archive
from dicom_node.certificates import Validity
from dicom_node.index import Index
from serving.journal import Journal
from serving.monitoring.watch import Place


class _Figures(Collector):
    def __init__(
        self,
        index: Index,
        archive: Archive,
        journal: Journal,
        *,
        certificates: Sequence[Validity],
        places: Callable[[], Sequence[Place]],
    ) -> None:
        self._index, self._archive, self._journal = index, archive, journal
        self._certificates, self._places = certificates, places

    @override
    def collect(self) -> Iterable[GaugeMetricFamily]:
        counts = self._index.counts()
        yield _gauge("wetread_studies", "studies stored", counts.studies)
        yield _gauge("wetread_studies_receiving", "studies still arriving", counts.receiving)
        yield _gauge("wetread_instances", "instances stored, results included", counts.instances)
        yield _gauge("wetread_stored_bytes", "bytes of stored data sets", counts.bytes)
        yield _gauge("wetread_set_aside", "instances refused or in conflict", counts.set_aside)
        yield _gauge("wetread_studies_removed", "studies that retention removed", counts.removed)
        files = counts.files_to_remove
        yield _gauge("wetread_files_to_remove", "files of removed studies, still there", files)
        yield _gauge("wetread_free_bytes", "free space for data", self._archive.free_bytes())
        shortage = "2: nothing is accepted, 1: no new associations, 0: enough space"
        yield _gauge("wetread_space_short", shortage, self._archive.space())
        states = GaugeMetricFamily(
            "wetread_work", "workitems, results and deliveries by state", labels=("what", "state")
        )
        for (what, state), number in sorted(self._journal.counts().items()):
            states.add_metric((what, state), number)
        yield states
        days = GaugeMetricFamily(
            "wetread_certificate_days", "days until a certificate expires", labels=("file",)
        )
        for each in self._certificates:
            days.add_metric((Path(each.path).name,), each.days_left(time.time()))
        yield days
        yield from _of_models(self._places())


def _of_models(places: Sequence[Place]) -> Iterable[GaugeMetricFamily]:
    where = ("model", "digest", "scanner", "protocol")
    counts = GaugeMetricFamily(
        "wetread_model_readings", "readings by outcome", labels=(*where, "outcome")
    )
    verdicts = GaugeMetricFamily(
        "wetread_model_assessed", "findings by verdict", labels=(*where, "accepted")
    )
    drifts = GaugeMetricFamily(
        "wetread_model_drift", "population stability index", labels=(*where, "kind", "what")
    )
    alerts = GaugeMetricFamily("wetread_model_alerts", "limits that are broken", labels=where)
    for place in places:
        here = (place.model, place.digest[:12], place.scanner, place.protocol)
        answered = place.readings - place.abstained - place.failed
        counts.add_metric((*here, "answered"), answered)
        counts.add_metric((*here, "abstained"), place.abstained)
        counts.add_metric((*here, "failed"), place.failed)
        verdicts.add_metric((*here, "yes"), place.accepted)
        verdicts.add_metric((*here, "no"), place.assessed - place.accepted)
        for drift in place.drifts:
            drifts.add_metric((*here, drift.kind, drift.what), drift.index)
        alerts.add_metric(here, len(place.alerts))
    yield from (counts, verdicts, drifts, alerts)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def exposition(
    index: Index,
    archive: Archive,
    journal: Journal,
    *,
    certificates: Sequence[Validity] = (),
    places: Callable[[], Sequence[Place]] = tuple,
) -> bytes:
    """Return the figures in Prometheus' text format."""
    registry = CollectorRegistry()
    figures = _Figures(index, archive, journal, certificates=certificates, places=places)
    registry.register(figures)
    return generate_latest(registry)
