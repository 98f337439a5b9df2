"""The stored order of the worklist: each study's head start, and whether it is still to be read.

The head start of `serving.urgency` changes with a study's newest analysis, its findings and their
verdicts; `settle` stores it in the transaction that changes one of these. Waiting time needs no
row: a study that waits less than `WAIT_LIMIT_H` keeps its place against others that do.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

import sqlalchemy as sa

from dicom_node.records import half_day
from dicom_node.schema import assessments, findings, studies, workitems, writing
from imaging.verdict import Verdict
from serving.records import FindingRecord
from serving.urgency import Standing, standing

_HOUR_S = 3600.0
_AT_ONCE = 500
_ROUTINE = 5
_V = TypeVar("_V")


def settle(db: sa.Connection, tenant: str, study_uids: Collection[str]) -> None:
    """Store where studies stand by what the transaction sees, and keep them until it ends."""
    mine = studies.c.tenant == tenant, studies.c.study_uid.in_(study_uids)
    # The lock is a statement of its own: what comes after it sees what others committed before.
    held = sa.select(studies.c.study_uid, studies.c.first_received_at).where(*mine)
    rows = db.execute(held.order_by(studies.c.study_uid).with_for_update()).all()
    newest = _newest(db, tenant, study_uids)
    found = findings_of(db, tenant, [row.workitem_uid for row in newest.values()])
    verdicts = verdicts_of(db, tenant, study_uids)
    settled = [
        _settled(uid, at, newest.get(uid), found=found, verdicts=verdicts.get(uid, {}))
        for uid, at in rows
    ]
    if settled:
        key = studies.c.tenant == tenant, studies.c.study_uid == sa.bindparam("uid")
        db.execute(sa.update(studies).where(*key), settled)


def settle_all(engine: sa.Engine, tenant: str) -> None:
    """Settle the studies that an upgrade left unsettled; may be repeated and killed anywhere."""
    unsettled = (
        sa.select(studies.c.study_uid)
        .where(studies.c.tenant == tenant, studies.c.unread.in_((True, False)))
        .where(studies.c.head_start_h.is_(None))
        .limit(_AT_ONCE)
    )
    while True:
        with engine.connect() as db:
            if db.execute(unsettled).first() is None:
                return
        with writing(engine) as db:
            settle(db, tenant, db.execute(unsettled).scalars().all())


def findings_of(
    db: sa.Connection, tenant: str, workitem_uids: Collection[str]
) -> Mapping[str, list[FindingRecord]]:
    """Return what analyses found, by workitem."""
    columns = findings.c.workitem_uid, findings.c.content
    where = findings.c.tenant == tenant, findings.c.workitem_uid.in_(workitem_uids)
    rows = db.execute(sa.select(*columns).where(*where))
    return grouped((uid, FindingRecord.model_validate(content)) for uid, content in rows)


def verdicts_of(
    db: sa.Connection, tenant: str, study_uids: Collection[str]
) -> Mapping[str, Mapping[str, Verdict]]:
    """Return readers' verdicts that hold, by study and tracking UID."""
    columns = assessments.c.study_uid, assessments.c.tracking_uid, assessments.c.verdict
    query = sa.select(*columns).where(
        assessments.c.tenant == tenant,
        assessments.c.study_uid.in_(study_uids),
        assessments.c.current,
        assessments.c.verdict != Verdict.WITHDRAWN.value,
    )
    pairs = ((uid, (tracking, Verdict(verdict))) for uid, tracking, verdict in db.execute(query))
    return {uid: dict(verdicts) for uid, verdicts in grouped(pairs).items()}


def stands(
    found: Collection[FindingRecord],
    verdicts: Mapping[str, Verdict],
    *,
    priority: int | None,
    waiting_s: float,
) -> Standing:
    """Return where a study stands; without a workitem there is no priority."""
    return standing(
        found,
        priority=_ROUTINE if priority is None else priority,
        waiting_s=waiting_s,
        rejected=frozenset(uid for uid, v in verdicts.items() if v is Verdict.REJECTED),
    )


def is_read(found: Collection[FindingRecord], verdicts: Mapping[str, Verdict]) -> bool:
    """Whether every finding was assessed."""
    return bool(found) and all(f.tracking_uid in verdicts for f in found)


def grouped(pairs: Iterable[tuple[str, _V]]) -> dict[str, list[_V]]:
    """Return the values of each key."""
    found: dict[str, list[_V]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return found


def _newest(db: sa.Connection, tenant: str, study_uids: Collection[str]) -> dict[str, sa.Row[Any]]:
    """Return the newest workitem of each study."""
    columns = workitems.c.study_uid, workitems.c.workitem_uid, workitems.c.priority
    where = workitems.c.tenant == tenant, workitems.c.study_uid.in_(study_uids)
    query = sa.select(*columns).where(*where).order_by(workitems.c.created_at)
    return {row.study_uid: row for row in db.execute(query)}


def _settled(
    study_uid: str,
    first_received_at: float,
    newest: sa.Row[Any] | None,
    *,
    found: Mapping[str, list[FindingRecord]],
    verdicts: Mapping[str, Verdict],
) -> dict[str, object]:
    mine = found.get(newest.workitem_uid, []) if newest else []
    priority = newest.priority if newest else None
    head_start_h = stands(mine, verdicts, priority=priority, waiting_s=0.0).points
    return {
        "uid": study_uid,
        "unread": not is_read(mine, verdicts),
        "head_start_h": head_start_h,
        "due_at": first_received_at - head_start_h * _HOUR_S,
        "half_day": half_day(first_received_at),
    }
