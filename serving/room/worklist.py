"""The worklist: which studies, in which order, and what is shown of each. Reads only.

Order and states are decided in the database, so that a page costs the same however many there are.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import sqlalchemy as sa

from dicom_node.index import Index
from dicom_node.records import StudyFilter, StudyRow
from dicom_node.schema import assessments, deliveries, findings, results, series, studies, workitems
from imaging.verdict import Verdict
from serving.records import ANSWERS, FindingRecord, Workitem
from serving.room.urgency import (
    HEAD_START_H,
    HIGH_H,
    HIGH_UP_TO,
    STAT_H,
    STAT_UP_TO,
    WAIT_LIMIT_H,
    Standing,
    standing,
)

AiState = Literal[
    "receiving", "waiting", "analysing", "delivering", "done", "not analysed", "failed"
]
STATES: tuple[AiState, ...] = get_args(AiState)
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which studies to list; what is empty does not restrict.

    `read` is whether every finding was assessed; ``None`` lists both.
    """

    text: str = ""
    modality: str = ""
    state: AiState | None = None
    date_from: str = ""
    date_to: str = ""
    with_findings: bool = False
    read: bool | None = False

    @property
    def plain(self) -> StudyFilter:
        """What the index itself can filter by."""
        return StudyFilter(
            text=self.text,
            modality=self.modality,
            date_from=self.date_from,
            date_to=self.date_to,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One study of the list; `verdicts` are readers', by tracking UID, but for withdrawn ones."""

    study: StudyRow
    modalities: tuple[str, ...]
    images: int
    state: AiState
    workitem: Workitem | None
    findings: tuple[FindingRecord, ...]
    verdicts: Mapping[str, Verdict]
    standing: Standing

    @property
    def read(self) -> bool:
        """Whether every finding was assessed."""
        return bool(self.findings) and all(f.tracking_uid in self.verdicts for f in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Part of the list; `total` counts all of it."""

    lines: tuple[Line, ...]
    total: int


class Worklist:
    """The list of one tenant."""

    def __init__(self, index: Index) -> None:
        self._index, self._engine, self._tenant = index, index.engine, index.tenant

    def page(self, wanted: Wanted, *, now: float, limit: int, offset: int = 0) -> Page:
        """Return a part of the list, most urgent first."""
        conditions = [*self._index.fitting(wanted.plain), *self._conditions(wanted)]
        points = self._points(now)
        query = (
            sa.select(studies.c.study_uid)
            .where(*conditions)
            .order_by(points.desc(), studies.c.last_received_at.desc(), studies.c.study_uid)
            .limit(limit)
            .offset(offset)
        )
        count = sa.select(sa.func.count()).select_from(studies).where(*conditions)
        with self._engine.connect() as db:
            total = db.execute(count).scalar_one()
            uids = list(db.execute(query).scalars())
            return Page(lines=self._lines(db, uids, now), total=total)

    def line(self, study_uid: str, *, now: float) -> Line | None:
        """Return the line of one study."""
        with self._engine.connect() as db:
            return next(iter(self._lines(db, [study_uid], now)), None)

    def _lines(self, db: sa.Connection, uids: Sequence[str], now: float) -> tuple[Line, ...]:
        rows = self._rows(db, uids)
        newest = {row.workitem_uid for row in rows.values() if row.workitem_uid}
        items = self._workitems(db, newest)
        found = self._findings(db, newest)
        kinds, verdicts = self._modalities(db, uids), self._verdicts(db, uids)
        lines = []
        for uid in (uid for uid in uids if uid in rows):
            row, item = rows[uid], items.get(rows[uid].workitem_uid)
            study = StudyRow(**{name: getattr(row, name) for name in _STUDY_COLUMNS})
            mine = tuple(found.get(row.workitem_uid, ()))
            lines.append(
                Line(
                    study=study,
                    modalities=tuple(sorted(kinds.get(uid, ()))),
                    images=study.received,
                    state=row.ai_state,
                    workitem=item,
                    findings=mine,
                    verdicts=verdicts.get(uid, {}),
                    standing=standing(
                        mine,
                        priority=item.priority if item else HIGH_UP_TO + 1,
                        waiting_s=now - study.first_received_at,
                        rejected=_rejected(verdicts.get(uid, {})),
                    ),
                )
            )
        return tuple(lines)

    # Conditions

    def _conditions(self, wanted: Wanted) -> list[sa.ColumnElement[bool]]:
        conditions = []
        if wanted.state:
            conditions.append(self._state() == wanted.state)
        if wanted.with_findings:
            conditions.append(sa.exists().where(*self._of_newest(findings)))
        if wanted.read is not None:
            conditions.append(self._is_read() if wanted.read else ~self._is_read())
        return conditions

    def _is_read(self) -> sa.ColumnElement[bool]:
        mine = self._of_newest(findings)
        return sa.exists().where(*mine) & ~sa.exists().where(*mine, ~self._judged())

    def _judged(self, *conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
        """Whether a verdict on a finding holds."""
        return (
            sa.exists()
            .where(
                assessments.c.tenant == self._tenant,
                assessments.c.study_uid == findings.c.study_uid,
                assessments.c.tracking_uid == findings.c.tracking_uid,
                assessments.c.current,
                assessments.c.verdict != Verdict.WITHDRAWN.value,
                *conditions,
            )
            .correlate(findings)
        )

    def _newest(self, column: sa.Column[Any]) -> sa.ScalarSelect[Any]:
        """Return a column of a study's newest workitem."""
        return (
            sa.select(column)
            .where(workitems.c.tenant == self._tenant, workitems.c.study_uid == studies.c.study_uid)
            .order_by(workitems.c.created_at.desc())
            .limit(1)
            .correlate(studies)
            .scalar_subquery()
        )

    def _of_newest(self, table: sa.Table) -> tuple[sa.ColumnElement[bool], ...]:
        return (
            table.c.tenant == self._tenant,
            table.c.study_uid == studies.c.study_uid,
            table.c.workitem_uid == self._newest(workitems.c.workitem_uid),
        )

    def _state(self) -> sa.ColumnElement[str]:
        state = self._newest(workitems.c.state)
        other = deliveries.alias()
        taken = (
            sa.exists()
            .where(
                other.c.tenant == self._tenant,
                other.c.workitem_uid == deliveries.c.workitem_uid,
                other.c.destination == deliveries.c.destination,
                other.c.state.not_in(("refused", "superseded")),
            )
            .correlate(deliveries)
        )
        mine = self._of_newest(deliveries)
        stuck = deliveries.c.state == "failed", (deliveries.c.state == "refused") & ~taken
        undelivered = sa.exists().where(*mine, sa.or_(*stuck))
        held = sa.exists().where(*self._of_newest(results), results.c.state == "held")
        answered = sa.exists().where(*self._of_newest(results), results.c.kind.in_(ANSWERS))
        return sa.case(
            (studies.c.state == "receiving", "receiving"),
            (sa.func.coalesce(state, "SCHEDULED") == "SCHEDULED", "waiting"),
            (state == "IN PROGRESS", "analysing"),
            (sa.or_(state == "CANCELED", held, undelivered), "failed"),
            (sa.exists().where(*mine, deliveries.c.state.in_(("waiting", "held"))), "delivering"),
            (answered, "done"),
            else_="not analysed",
        )

    def _points(self, now: float) -> sa.ColumnElement[float]:
        """Return the points of `serving.room.urgency` in SQL."""
        content = findings.c.content
        certainty = sa.func.coalesce(content["probability"].as_float(), 1.0)
        urgency = content["urgency"].as_string()
        hours = sa.case(
            *((urgency == level.value, h * certainty) for level, h in HEAD_START_H.items() if h),
            else_=0.0,
        )
        sound = content["abstained"]["code"].as_string().is_(None)
        rejected = self._judged(assessments.c.verdict == Verdict.REJECTED.value)
        found = (
            sa.select(sa.func.max(hours))
            .where(*self._of_newest(findings), sound, ~rejected)
            .correlate(studies)
            .scalar_subquery()
        )
        priority = self._newest(workitems.c.priority)
        head = sa.case((priority <= STAT_UP_TO, STAT_H), (priority <= HIGH_UP_TO, HIGH_H), else_=0)
        waited = (sa.literal(now) - studies.c.first_received_at) / _HOUR_S
        limited = sa.case((waited > WAIT_LIMIT_H, WAIT_LIMIT_H), (waited < 0, 0.0), else_=waited)
        return sa.func.coalesce(found, 0.0) + head + limited

    # Rows of one page

    def _rows(self, db: sa.Connection, uids: Sequence[str]) -> dict[str, Any]:
        columns = [studies.c[name] for name in _STUDY_COLUMNS]
        query = sa.select(
            *columns,
            self._newest(workitems.c.workitem_uid).label("workitem_uid"),
            self._state().label("ai_state"),
        ).where(studies.c.tenant == self._tenant, studies.c.study_uid.in_(uids))
        return {row.study_uid: row for row in db.execute(query)}

    def _workitems(self, db: sa.Connection, uids: set[str]) -> Mapping[str, Workitem]:
        where = workitems.c.tenant == self._tenant, workitems.c.workitem_uid.in_(uids)
        rows = db.execute(sa.select(workitems).where(*where))
        return {row.workitem_uid: Workitem.model_validate(row) for row in rows}

    def _findings(self, db: sa.Connection, uids: set[str]) -> Mapping[str, list[FindingRecord]]:
        columns = findings.c.workitem_uid, findings.c.content
        where = findings.c.tenant == self._tenant, findings.c.workitem_uid.in_(uids)
        rows = db.execute(sa.select(*columns).where(*where))
        return _grouped((uid, FindingRecord.model_validate(content)) for uid, content in rows)

    def _modalities(self, db: sa.Connection, uids: Sequence[str]) -> Mapping[str, list[str]]:
        query = (
            sa.select(series.c.study_uid, series.c.modality)
            .where(series.c.tenant == self._tenant, series.c.study_uid.in_(uids))
            .where(series.c.series_uid.not_in(self._made(uids)))
            .distinct()
        )
        return _grouped((uid, kind) for uid, kind in db.execute(query))

    def _verdicts(
        self, db: sa.Connection, uids: Sequence[str]
    ) -> Mapping[str, Mapping[str, Verdict]]:
        columns = assessments.c.study_uid, assessments.c.tracking_uid, assessments.c.verdict
        query = sa.select(*columns).where(
            assessments.c.tenant == self._tenant,
            assessments.c.study_uid.in_(uids),
            assessments.c.current,
            assessments.c.verdict != Verdict.WITHDRAWN.value,
        )
        pairs = (
            (uid, (tracking, Verdict(verdict))) for uid, tracking, verdict in db.execute(query)
        )
        return {uid: dict(verdicts) for uid, verdicts in _grouped(pairs).items()}

    def _made(self, uids: Sequence[str]) -> sa.Select[Any]:
        where = results.c.tenant == self._tenant, results.c.study_uid.in_(uids)
        return sa.select(results.c.series_uid).where(*where)


_STUDY_COLUMNS = tuple(StudyRow.__dataclass_fields__)


def _rejected(verdicts: Mapping[str, Verdict]) -> frozenset[str]:
    return frozenset(uid for uid, verdict in verdicts.items() if verdict is Verdict.REJECTED)


def _grouped(pairs: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return found
