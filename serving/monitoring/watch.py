"""What each version of a model did on each scanner and protocol, and what has changed there."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import structlog
from pydantic import Field

from imaging.verdict import Verdict
from serving.monitoring.drift import stability_index
from serving.monitoring.observations import Observations, Remembered
from serving.monitoring.settings import MonitoringSettings
from serving.records import Record

_log = structlog.get_logger(__name__)
_FRESH_S = 300.0  # figures are asked for often, and change slowly
_LEAST_ASSESSED = 20
Kind = Literal["input", "output"]
AlertKind = Literal["drift", "silent", "agreement"]


class Drift(Record):
    """How far one value has moved; `index` is the population stability index."""

    kind: Kind
    what: str = Field(examples=["median"])
    before: float = Field(examples=[310.0])
    now: float = Field(examples=[420.0])
    index: float = Field(examples=[0.31])


class Alert(Record):
    """A limit that is broken: `value` is beyond `limit`."""

    kind: AlertKind
    what: str = Field(examples=["median"])
    value: float = Field(examples=[0.31])
    limit: float = Field(examples=[0.25])


class Place(Record):
    """One version on one scanner and protocol. Medians of `drifts` are those of both windows.

    `abstained` and `failed` are counts of `readings`, `assessed` and `accepted` of findings.
    """

    model: str = Field(examples=["brain-extraction"])
    digest: str = Field(examples=["1f0c9a77b2e4"])
    scanner: str = Field(examples=["Siemens Skyra"])
    protocol: str = Field(examples=["MR T1"])
    readings: int = Field(examples=[200])
    abstained: int = Field(examples=[4])
    failed: int = Field(examples=[0])
    assessed: int = Field(examples=[60])
    accepted: int = Field(examples=[57])
    drifts: tuple[Drift, ...] = Field(examples=[[]])
    alerts: tuple[Alert, ...] = Field(examples=[[]])


class Watch:
    """Looks at what was observed; the same figures for pages, REST, metrics and log."""

    def __init__(
        self,
        observations: Observations,
        limits: MonitoringSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._observations, self._limits, self._clock = observations, limits, clock
        self._seen: tuple[float, tuple[Place, ...]] | None = None

    def places(self) -> tuple[Place, ...]:
        """Return all places; figures may be five minutes old."""
        now = self._clock()
        if self._seen is None or now - self._seen[0] > _FRESH_S:
            found = tuple(p for m in self._observations.models() for p in self.of(m))
            self._seen = (now, found)
        return self._seen[1]

    def of(self, model: str) -> tuple[Place, ...]:
        """Return the places of one model, as they are now."""
        groups: dict[tuple[str, str, str], list[Remembered]] = defaultdict(list)
        for each in self._observations.of(model):
            groups[each.digest, each.scanner, each.protocol].append(each)
        return tuple(
            place_of(model, readings, self._limits) for _, readings in sorted(groups.items())
        )

    def tell(self) -> None:
        """Write every limit that is broken into the log."""
        for place in self.places():
            for alert in place.alerts:
                _log.warning(
                    "model_alert",
                    model=place.model,
                    digest=place.digest[:12],
                    scanner=place.scanner,
                    protocol=place.protocol,
                    **alert.model_dump(),
                )


def place_of(model: str, readings: Sequence[Remembered], limits: MonitoringSettings) -> Place:
    """Return what the readings of one version on one scanner and protocol amount to."""
    verdicts = [v for each in readings for v in each.verdicts if v is not Verdict.WITHDRAWN]
    recent = readings[-limits.recent :]
    before = readings[: -limits.recent][-limits.reference :]
    drifts = tuple(_drifts(before, recent)) if _is_enough(before, recent, limits) else ()
    newest = [v for each in recent for v in each.verdicts if v is not Verdict.WITHDRAWN]
    return Place(
        model=model,
        digest=readings[0].digest,
        scanner=readings[0].scanner,
        protocol=readings[0].protocol,
        readings=len(readings),
        abstained=sum(each.outcome == "abstained" for each in readings),
        failed=sum(each.outcome == "failed" for each in readings),
        assessed=len(verdicts),
        accepted=verdicts.count(Verdict.ACCEPTED),
        drifts=drifts,
        alerts=tuple(_alerts(drifts, recent, newest, limits=limits)),
    )


def _is_enough(
    before: Sequence[Remembered], recent: Sequence[Remembered], limits: MonitoringSettings
) -> bool:
    """Whether both windows hold enough; of fewer, chance alone gives a large index."""
    return min(len(before), len(recent)) >= min(limits.recent, limits.reference)


def _drifts(before: Sequence[Remembered], recent: Sequence[Remembered]) -> Iterator[Drift]:
    kinds: tuple[Kind, ...] = ("input", "output")
    for kind in kinds:
        earlier, later = (_values(window, kind) for window in (before, recent))
        for what in earlier.keys() & later.keys():
            then, now = earlier[what], later[what]
            if min(len(then), len(now)) * 2 < len(recent):
                continue  # most readings do not have it
            yield Drift(
                kind=kind,
                what=what,
                before=sorted(then)[len(then) // 2],
                now=sorted(now)[len(now) // 2],
                index=stability_index(then, now),
            )


def _values(window: Sequence[Remembered], kind: Kind) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for each in window:
        for what, value in (each.inputs if kind == "input" else each.outputs).items():
            found[what].append(value)
    return found


def _alerts(
    drifts: Sequence[Drift],
    recent: Sequence[Remembered],
    verdicts: Sequence[Verdict],
    *,
    limits: MonitoringSettings,
) -> Iterator[Alert]:
    for drift in drifts:
        if drift.index > limits.drift:
            yield Alert(kind="drift", what=drift.what, value=drift.index, limit=limits.drift)
    silent = sum(each.outcome != "answered" for each in recent) / len(recent)
    if len(recent) >= _LEAST_ASSESSED and silent > limits.silent:
        yield Alert(kind="silent", what="", value=silent, limit=limits.silent)
    if len(verdicts) >= _LEAST_ASSESSED:
        share = verdicts.count(Verdict.ACCEPTED) / len(verdicts)
        if share < limits.agreement:
            yield Alert(kind="agreement", what="", value=share, limit=limits.agreement)
