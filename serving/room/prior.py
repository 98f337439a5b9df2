"""Today's values beside those of earlier studies of the same patient. Pure.

Compared is what one model measured under one name in one unit: same patient ID, same model, same
finding, same measurement. Nothing else is the same quantity.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from serving.records import FindingRecord, MeasurementRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierFinding:
    """A finding of an earlier study; `date` is its Study Date as written (YYYYMMDD)."""

    study_uid: str
    date: str
    finding: FindingRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A measurement then and now; `percent` is of the earlier value, ``None`` when that is 0."""

    name: str
    unit: str
    now: float
    then: float
    date: str
    study_uid: str
    same_version: bool

    @property
    def absolute(self) -> float:
        """Now minus then."""
        return self.now - self.then

    @property
    def percent(self) -> float | None:
        """The change in percent."""
        return 100 * self.absolute / abs(self.then) if self.then else None


def changes(finding: FindingRecord, earlier: Sequence[EarlierFinding]) -> tuple[Change, ...]:
    """Return each measurement of a finding against the newest earlier one of the same quantity.

    `earlier` is newest first.
    """
    return tuple(
        change
        for measured in finding.measurements
        for change in _newest(finding, measured, earlier)
    )


def _newest(
    finding: FindingRecord, measured: MeasurementRecord, earlier: Iterable[EarlierFinding]
) -> tuple[Change, ...]:
    for one in earlier:
        then = one.finding
        if not _same_finding(finding, then):
            continue
        for other in then.measurements:
            if (other.name, other.unit) == (measured.name, measured.unit):
                change = Change(
                    name=measured.name,
                    unit=measured.unit,
                    now=measured.value,
                    then=other.value,
                    date=one.date,
                    study_uid=one.study_uid,
                    same_version=finding.model_digest == then.model_digest,
                )
                return (change,)
    return ()


def _same_finding(now: FindingRecord, then: FindingRecord) -> bool:
    if then.abstained or now.abstained:
        return False
    return (now.model, now.concept, now.tracking_id) == (then.model, then.concept, then.tracking_id)
