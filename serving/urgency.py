"""Where a study stands in the worklist: hours of waiting, plus head starts in hours.

One point is one hour of waiting. A study waits from its first image, counted up to `WAIT_LIMIT_H`,
so that what nobody assesses sinks below what is new and urgent. A finding gives its head start
times its probability (1 where it has none); the largest counts. What a reader rejected, and what
the model abstained from, gives none.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from imaging.findings import Urgency
from serving.records import FindingRecord

HEAD_START_H: Mapping[Urgency, float] = {
    Urgency.CRITICAL: 48.0,
    Urgency.URGENT: 24.0,
    Urgency.ROUTINE: 0.0,
    Urgency.NORMAL: 0.0,
}
STAT_UP_TO, STAT_H = 1, 36.0  # priorities of workitems: lower is sooner, 5 is routine
HIGH_UP_TO, HIGH_H = 4, 12.0
WAIT_LIMIT_H = 12.0
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The points of a study and what they are made of."""

    finding: FindingRecord | None
    finding_h: float
    priority_h: float
    waiting_h: float

    @property
    def points(self) -> float:
        """The sum; more is sooner."""
        return self.finding_h + self.priority_h + self.waiting_h


def standing(
    findings: Iterable[FindingRecord],
    *,
    priority: int,
    waiting_s: float,
    rejected: frozenset[str] = frozenset(),
) -> Standing:
    """Return where a study stands; `rejected` are tracking UIDs."""
    counted = [f for f in findings if f.tracking_uid not in rejected]
    first = max(counted, key=head_start_h, default=None)
    hours = head_start_h(first) if first else 0.0
    return Standing(
        finding=first if hours else None,
        finding_h=hours,
        priority_h=priority_h(priority),
        waiting_h=min(max(waiting_s / _HOUR_S, 0.0), WAIT_LIMIT_H),
    )


def head_start_h(finding: FindingRecord) -> float:
    """Return the head start of one finding."""
    if finding.abstained:
        return 0.0
    certainty = 1.0 if finding.probability is None else finding.probability
    return HEAD_START_H[finding.urgency] * certainty


def priority_h(priority: int) -> float:
    """Return the head start of a workitem's priority."""
    if priority <= STAT_UP_TO:
        return STAT_H
    return HIGH_H if priority <= HIGH_UP_TO else 0.0
