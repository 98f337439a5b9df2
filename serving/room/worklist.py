"""The worklist: which studies, in which order, and what is shown of each. Reads only.

Order and states are decided in the database, so that a page costs the same however many there are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import sqlalchemy as sa

from dicom_node.index import Index
from dicom_node.records import StudyFilter, StudyRow, half_day
from dicom_node.schema import deliveries, findings, results, series, studies, workitems
from imaging.verdict import Verdict
from serving.precedence import findings_of, grouped, is_read, stands, verdicts_of
from serving.records import ANSWERS, FindingRecord, Workitem
from serving.urgency import WAIT_LIMIT_H, Standing

AiState = Literal[
    "receiving", "waiting", "analysing", "delivering", "done", "not analysed", "failed"
]
STATES: tuple[AiState, ...] = get_args(AiState)
MOST_COUNTED = 1000
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
        return is_read(self.findings, self.verdicts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Part of the list; `total` counts all of it, but not on above `MOST_COUNTED`."""

    lines: tuple[Line, ...]
    total: int
    is_last: bool

    @property
    def is_counted(self) -> bool:
        """Whether there are no more than `total` says."""
        return self.total <= MOST_COUNTED


class Worklist:
    """The list of one tenant."""

    def __init__(self, index: Index) -> None:
        self._index, self._engine, self._tenant = index, index.engine, index.tenant

    def page(self, wanted: Wanted, *, now: float, limit: int, offset: int = 0) -> Page:
        """Return a part of the list, most urgent first."""
        conditions = [*self._index.fitting(wanted.plain), *self._conditions(wanted)]
        fitting = sa.select(studies.c.study_uid).where(*conditions)
        kinds = (True, False) if wanted.read is None else (not wanted.read,)
        unread = studies.c.unread.in_(kinds)
        few = fitting.where(unread).limit(MOST_COUNTED + 1).subquery()
        with self._engine.connect() as db:
            total = db.execute(sa.select(sa.func.count()).select_from(few)).scalar_one()
            ordered = _ordered(fitting, kinds, now=now, until=offset + limit + 1)
            uids = list(db.execute(ordered.offset(offset)).scalars())
            lines = self._lines(db, uids[:limit], now)
        return Page(lines=lines, total=total, is_last=len(uids) <= limit)

    def line(self, study_uid: str, *, now: float) -> Line | None:
        """Return the line of one study."""
        with self._engine.connect() as db:
            return next(iter(self._lines(db, [study_uid], now)), None)

    def _lines(self, db: sa.Connection, uids: Sequence[str], now: float) -> tuple[Line, ...]:
        rows = self._rows(db, uids)
        newest = {row.workitem_uid for row in rows.values() if row.workitem_uid}
        items = self._workitems(db, newest)
        found = findings_of(db, self._tenant, newest)
        kinds, verdicts = self._modalities(db, uids), verdicts_of(db, self._tenant, uids)
        lines = []
        for uid in (uid for uid in uids if uid in rows):
            row, item = rows[uid], items.get(rows[uid].workitem_uid)
            study = StudyRow(**{name: getattr(row, name) for name in _STUDY_COLUMNS})
            mine, judged = tuple(found.get(row.workitem_uid, ())), verdicts.get(uid, {})
            lines.append(
                Line(
                    study=study,
                    modalities=tuple(sorted(kinds.get(uid, ()))),
                    images=study.received,
                    state=row.ai_state,
                    workitem=item,
                    findings=mine,
                    verdicts=judged,
                    standing=stands(
                        mine,
                        judged,
                        priority=item.priority if item else None,
                        waiting_s=now - study.first_received_at,
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
        return conditions

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

    def _modalities(self, db: sa.Connection, uids: Sequence[str]) -> Mapping[str, list[str]]:
        query = (
            sa.select(series.c.study_uid, series.c.modality)
            .where(series.c.tenant == self._tenant, series.c.study_uid.in_(uids))
            .where(series.c.series_uid.not_in(self._made(uids)))
            .distinct()
        )
        return grouped((uid, kind) for uid, kind in db.execute(query))

    def _made(self, uids: Sequence[str]) -> sa.Select[Any]:
        where = results.c.tenant == self._tenant, results.c.study_uid.in_(uids)
        return sa.select(results.c.series_uid).where(*where)


_STUDY_COLUMNS = tuple(StudyRow.__dataclass_fields__)


def _ordered(
    fitting: sa.Select[Any], kinds: Sequence[bool], *, now: float, until: int
) -> sa.Select[Any]:
    """Order studies by the points of `serving.urgency`, the first `until` of them.

    Merged from ranges that are each in the order of an index, so only their beginnings are read.
    """
    ranges = [
        part.limit(until).subquery() for kind in kinds for part in _ranges(fitting, kind, now)
    ]
    merged = sa.union_all(*(sa.select(part) for part in ranges)).subquery()
    in_order = merged.c.points.desc(), merged.c.last_received_at.desc(), merged.c.study_uid
    return sa.select(merged.c.study_uid).order_by(*in_order).limit(until)


def _ranges(fitting: sa.Select[Any], kind: bool, now: float) -> Iterator[sa.Select[Any]]:  # noqa: FBT001
    """Give the studies that wait by half days, those that wait long, and those of a later clock."""
    head, oldest = studies.c.head_start_h, now - WAIT_LIMIT_H * _HOUR_S
    first = studies.c.first_received_at + 0.0  # so that no index by arrival is used instead
    due = sa.literal(now) - studies.c.due_at
    mine = fitting.where(studies.c.unread == kind)
    for number in range(half_day(oldest), half_day(now) + 1):
        waits = studies.c.half_day == number, first >= oldest, first <= now
        yield _range(mine.where(*waits), studies.c.due_at, due / _HOUR_S)
    long_ago = mine.where(first < oldest)
    yield _range(long_ago, head.desc(), head + WAIT_LIMIT_H)
    ahead = mine.where(studies.c.half_day >= half_day(now), first > now)
    yield _range(ahead, head.desc(), head + 0.0)


def _range(
    fitting: sa.Select[Any], key: sa.ColumnElement[Any], points: sa.ColumnElement[Any]
) -> sa.Select[Any]:
    named = fitting.add_columns(points.label("points"), studies.c.last_received_at)
    return named.order_by(key, studies.c.last_received_at.desc(), studies.c.study_uid)
