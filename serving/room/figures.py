"""The figures of the day: what arrived, what was analysed, and how fast."""

from dataclasses import dataclass
from statistics import median

import sqlalchemy as sa

from dicom_node.index import Index
from dicom_node.schema import results, studies, workitems
from imaging.verdict import Verdict
from serving.assessments import Assessments
from serving.records import ANSWERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one day; `seconds_to_result` is the median from a study being complete to its results."""

    received: int
    analysed: int
    seconds_to_result: float | None
    accepted: int
    assessed: int

    @property
    def agreement(self) -> float | None:
        """The share of assessed findings that readers accepted as they were."""
        return self.accepted / self.assessed if self.assessed else None


def figures_since(index: Index, assessments: Assessments, start: float) -> Figures:
    """Return the figures of what happened at or after `start` (Unix seconds)."""
    tenant = index.tenant
    came = sa.select(sa.func.count()).where(
        studies.c.tenant == tenant, studies.c.first_received_at >= start
    )
    answered = sa.exists().where(
        results.c.tenant == tenant,
        results.c.workitem_uid == workitems.c.workitem_uid,
        results.c.kind.in_(ANSWERS),
    )
    took = (workitems.c.ended_at - workitems.c.created_at).label("took")
    ended = sa.select(took).where(
        workitems.c.tenant == tenant,
        workitems.c.ended_at >= start,
        workitems.c.state == "COMPLETED",
        answered,
    )
    with index.engine.connect() as db:
        received = db.execute(came).scalar_one()
        seconds = list(db.execute(ended).scalars())
    verdicts = assessments.counts_since(start)
    return Figures(
        received=received,
        analysed=len(seconds),
        seconds_to_result=median(seconds) if seconds else None,
        accepted=verdicts.get(Verdict.ACCEPTED, 0),
        assessed=sum(n for verdict, n in verdicts.items() if verdict != Verdict.WITHDRAWN),
    )
