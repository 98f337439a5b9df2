"""What models read and say is remembered in numbers, and told when it has moved."""

import time
from pathlib import Path

import numpy as np
import pytest

from imaging.verdict import Verdict
from serving.assessments import AssessmentRequest
from serving.metrics import exposition
from serving.monitoring.drift import stability_index
from serving.monitoring.observation import Observation
from serving.monitoring.observations import Remembered
from serving.monitoring.settings import MonitoringSettings
from serving.monitoring.watch import place_of
from serving.sections import RetentionSettings
from tests.models.networks import SEGMENTATION
from tests.serving.bench import MODEL, Bench, breaking, mr
from tests.serving.test_api import Web, close

LIMITS = MonitoringSettings()


def study(number: int, **header: object) -> list:
    images = mr(Manufacturer="Maker", ManufacturerModelName="One", **header)
    for place, image in enumerate(images):
        image.StudyInstanceUID, image.SeriesInstanceUID = f"1.5.{number}", f"1.5.{number}.1"
        uid = f"1.5.{number}.1.{place}"
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = uid
    return images


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.install()
    return made


def test_a_reading_is_remembered_by_scanner_and_protocol(bench: Bench):
    study_uid = bench.analysed(study(1, EchoTime=12.5))
    (finding,) = bench.journal.findings(study_uid)
    bench.parts.assessments.assess(
        (finding,), AssessmentRequest(verdict=Verdict.ACCEPTED), study_uid=study_uid, reader="rita"
    )
    (seen,) = bench.journal.observations.of(MODEL)
    assert (seen.scanner, seen.outcome, seen.verdicts) == ("Maker One", "answered", ("accepted",))
    assert seen.protocol.startswith("MR axial")
    assert seen.inputs["echo time, ms"] == 12.5
    assert (seen.inputs["intensity, 50 %"], seen.inputs["intensity, 95 %"]) == (0.0, 1000.0)
    (volume,) = (m.value for m in finding.measurements if m.unit == "ml")
    assert volume in seen.outputs.values()
    (place,) = bench.parts.watch.of(MODEL)
    assert (place.readings, place.accepted, place.assessed) == (1, 1, 1)
    bench.run(bench.ticket(study_uid))  # the same step again
    assert len(bench.journal.observations.of(MODEL)) == 1


@pytest.mark.parametrize(
    ("checks", "network", "outcome"),
    [("", breaking(), "failed"), ("[checks]\nvolume_ml = [1000.0, 2000.0]\n", None, "abstained")],
)
def test_failures_and_abstentions_are_counted(tmp_path: Path, checks, network, outcome):
    bench = Bench(tmp_path)
    bench.install(SEGMENTATION + checks, network)
    bench.analysed(study(1))
    (seen,) = bench.journal.observations.of(MODEL)
    assert (seen.outcome, bool(seen.why)) == (outcome, True)
    (place,) = bench.parts.watch.of(MODEL)
    counted = {"failed": place.failed, "abstained": place.abstained}
    assert counted == {"failed": 0, "abstained": 0} | {outcome: 1}


def test_observations_go_with_the_study(bench: Bench):
    close(bench, bench.analysed(study(1)))
    bench.restarted(retention=RetentionSettings(max_age_days=1, keep_unassessed=False))
    assert bench.parts.retention.run(time.time() + 2 * 86400)
    assert bench.journal.observations.of(MODEL) == ()


def test_rest_page_and_metrics_tell_the_same(bench: Bench):
    close(bench, bench.analysed(study(1)))
    web = Web(bench)
    (told,) = web.get(f"/api/models/{MODEL}/monitoring")
    assert (told["scanner"], told["readings"], told["alerts"]) == ("Maker One", 1, [])
    shown = web.ask("GET", f"/models/{MODEL}/versions").text
    assert "Maker One" in shown
    parts = bench.parts
    figures = exposition(parts.index, parts.archive, parts.journal, places=parts.watch.places)
    lines = [x for x in figures.decode().splitlines() if x.startswith("wetread_model_readings")]
    (answered,) = (line for line in lines if 'outcome="answered"' in line)
    assert 'scanner="Maker One"' in answered
    assert answered.endswith(" 1.0")


# Drift


def test_the_index_is_what_its_formula_says():
    before = [1.0] * 50 + [2.0] * 50
    now = [1.0] * 20 + [2.0] * 80
    expected = (0.2 - 0.5) * np.log(0.2 / 0.5) + (0.8 - 0.5) * np.log(0.8 / 0.5)
    assert stability_index(before, now) == pytest.approx(expected)
    assert stability_index(before, before) == 0


def test_the_same_distribution_stays_below_the_limit_and_a_shift_does_not():
    chance = np.random.default_rng(5)
    for _ in range(50):
        before, now = chance.normal(size=500), chance.normal(size=100)
        assert stability_index(before, now) < LIMITS.drift
        assert stability_index(before, now + 1) > LIMITS.drift


def test_a_setting_that_never_changed_counts_when_it_does():
    assert stability_index([2.5] * 100, [2.5] * 100) == 0
    assert stability_index([2.5] * 100, [5.0] * 100) > 1
    assert stability_index([2.5] * 100, [1.0] * 100) > 1


def remembered(number: int, *, spacing: float = 1.0, volume: float = 100.0, **more) -> Remembered:
    values = {"outcome": "answered", "verdicts": ()} | more
    return Remembered(scanner="Maker One", protocol="MR axial", digest="d", at=float(number),
                      inputs={"slice spacing, mm": spacing}, outputs={"Brain: Volume, ml": volume},
                      **values)  # fmt: skip


def seen(spacing: float, **more) -> list[Remembered]:
    volumes = np.random.default_rng(1).normal(100, 5, 300)
    return [
        remembered(n, spacing=spacing if n >= 200 else 1.0, volume=float(v), **more)
        for n, v in enumerate(volumes)
    ]


def test_another_slice_thickness_is_told_and_nothing_else():
    assert place_of(MODEL, seen(1.0), LIMITS).alerts == ()
    place = place_of(MODEL, seen(3.0), LIMITS)
    (alert,) = place.alerts
    assert (alert.kind, alert.what) == ("drift", "slice spacing, mm")
    (drift,) = (d for d in place.drifts if d.what == alert.what)
    assert (drift.kind, drift.before, drift.now) == ("input", 1.0, 3.0)


def test_few_readings_show_no_drift():
    few = [remembered(n, spacing=1.0 if n < 50 else 3.0) for n in range(150)]
    assert place_of(MODEL, few, LIMITS).drifts == ()


def test_silence_and_disagreement_are_told():
    silent = [remembered(n, outcome="abstained" if n % 3 == 0 else "answered") for n in range(60)]
    (alert,) = place_of(MODEL, silent, LIMITS).alerts
    assert (alert.kind, round(alert.value, 2)) == ("silent", 0.33)
    verdicts = [(Verdict.REJECTED,) if n % 2 else (Verdict.ACCEPTED,) for n in range(40)]
    judged = [remembered(n, verdicts=v) for n, v in enumerate(verdicts)]
    place = place_of(MODEL, judged, LIMITS)
    assert (place.assessed, place.accepted) == (40, 20)
    assert [(a.kind, a.value) for a in place.alerts] == [("agreement", 0.5)]


def test_what_is_broken_is_written_into_the_log(bench: Bench, capsys, caplog):
    for place in range(25):
        bench.journal.observations.note(
            {"study": {"workitem_uid": f"w{place}", "study_uid": "1"}, "series_uid": "s",
             "model": MODEL},
            "d",
            Observation(scanner="x", protocol="CT", outcome="failed", why="TIME_LIMIT", inputs={},
                        outputs={}),
        )  # fmt: skip
    bench.parts.watch.tell()
    told = capsys.readouterr()
    assert "model_alert" in told.out + told.err + caplog.text
