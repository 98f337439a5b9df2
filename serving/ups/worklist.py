"""The memory of the worklist: one row for each step, changed under its lock.

What subscribers are to be told of a change is kept with it, in one transaction.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from dicom_node import schema
from imaging.dicom_json import JsonDataset
from imaging.errors import Conflict, NotFound
from serving.ups.reports import cancel_report, reports
from serving.ups.states import State
from serving.ups.step import Narrowed, Step, row_of, step_of
from serving.ups.subscriptions import Subscriptions

_steps = schema.ups.steps
_AT_ONCE = 500
_HISTORY_S, _SLACK_S = 86_400.0, 600.0


class Worklist:
    """The steps of one tenant; safe to share between threads and processes."""

    def __init__(
        self,
        engine: sa.Engine,
        *,
        tenant: str,
        clock: Callable[[], float],
        subscriptions: Subscriptions,
    ) -> None:
        self._engine, self._tenant, self.clock = engine, tenant, clock
        self._subscriptions = subscriptions

    def create(self, step: Step) -> None:
        """Keep a new step; durable when this returns.

        Raises
        ------
        Conflict
            There is one of this UID.
        """
        try:
            with schema.writing(self._engine) as db:
                db.execute(sa.insert(_steps).values(tenant=self._tenant, **row_of(step)))
                self._subscriptions.tell(db, step, reports(None, step))
        except sa.exc.IntegrityError as error:
            msg = f"there is a workitem {step.ups_uid} already"
            raise Conflict(msg) from error

    def step(self, ups_uid: str) -> Step:
        """Return one step; `NotFound` when there is none."""
        with self._engine.connect() as db:
            return self._one(db, ups_uid, lock=False)

    @contextmanager
    def changing(self, ups_uid: str) -> Iterator["Change"]:
        """Give a step that nobody else changes until the end, where what was set is kept."""
        with schema.writing(self._engine) as db:
            change = Change(self._one(db, ups_uid, lock=True))
            yield change
            if change.after != change.before:
                where = self._is(ups_uid)
                db.execute(sa.update(_steps).where(*where).values(**row_of(change.after)))
                told = reports(change.before, change.after)
                self._subscriptions.tell(db, change.after, told)

    def ask_to_cancel(self, ups_uid: str, asked: JsonDataset, requester: str) -> bool:
        """Tell who watches a step that somebody wants it canceled; False if nobody does."""
        with schema.writing(self._engine) as db:
            step = self._one(db, ups_uid, lock=True)
            told = [cancel_report(step, asked, requester)]
            return self._subscriptions.tell(db, step, told) > 0

    def find(self, wanted: Narrowed) -> Iterator[Step]:
        """Yield the steps that fit, newest first."""
        query = sa.select(_steps).where(_steps.c.tenant == self._tenant)
        for column, choice in (
            (_steps.c.state, wanted.states),
            (_steps.c.study_uid, wanted.study_uids),
        ):
            query = query.where(column.in_(choice)) if choice else query
        if wanted.patient_id:
            query = query.where(_steps.c.patient_id == wanted.patient_id)
        query = query.where(_steps.c.pushed) if wanted.pushed else query
        query = query.order_by(_steps.c.created_at.desc(), _steps.c.ups_uid)
        with self._engine.connect() as db:
            for row in db.execution_options(yield_per=_AT_ONCE).execute(query):
                yield step_of(row)

    def performing(self, workitem_uid: str) -> Sequence[Step]:
        """Return the steps that an analysis performs."""
        query = sa.select(_steps).where(
            _steps.c.tenant == self._tenant, _steps.c.workitem_uid == workitem_uid
        )
        with self._engine.connect() as db:
            return [step_of(row) for row in db.execute(query)]

    def behind(self, *, limit: int) -> Sequence[str]:
        """Return analyses whose steps are missing or in an earlier state, the first ended first.

        Looked at are those that are open, those whose steps are, and those that ended since the
        last that is known here, or shortly before: clocks of machines differ. A new worklist
        begins with those of the last day.
        """
        items, mine = schema.workitems, _steps.c.tenant == self._tenant
        opened = (State.SCHEDULED, State.IN_PROGRESS)
        last = sa.func.coalesce(sa.func.max(_steps.c.ended_at), self.clock() - _HISTORY_S)
        floor = sa.select(last - _SLACK_S).where(mine, _steps.c.pushed.is_(False))
        followed = sa.select(_steps.c.workitem_uid).where(
            mine, _steps.c.state.in_(opened), _steps.c.workitem_uid.is_not(None)
        )
        looked_at = sa.or_(
            items.c.state.in_(opened),
            items.c.ended_at > floor.scalar_subquery(),
            items.c.workitem_uid.in_(followed),
        )
        late = sa.and_(_steps.c.state != items.c.state, _steps.c.state.in_(opened))
        same = sa.and_(mine, _steps.c.workitem_uid == items.c.workitem_uid)
        query = (
            sa.select(items.c.workitem_uid)
            .join_from(items, _steps, same, isouter=True)
            .where(items.c.tenant == self._tenant, looked_at)
            .where(sa.or_(_steps.c.ups_uid.is_(None), late))
            .order_by(sa.func.coalesce(items.c.ended_at, items.c.created_at))
            .limit(limit)
        )
        with self._engine.connect() as db:
            return list(dict.fromkeys(db.execute(query).scalars()))

    def _one(self, db: sa.Connection, ups_uid: str, *, lock: bool) -> Step:
        query = sa.select(_steps).where(*self._is(ups_uid))
        row = db.execute(query.with_for_update() if lock else query).first()
        if row is None:
            msg = f"there is no workitem {ups_uid}"
            raise NotFound(msg)
        return step_of(row)

    def _is(self, ups_uid: str) -> list[sa.ColumnElement[bool]]:
        return [_steps.c.tenant == self._tenant, _steps.c.ups_uid == ups_uid]


@dataclass(slots=True)
class Change:
    """A step before and after what is done to it."""

    before: Step
    after: Step

    def __init__(self, step: Step) -> None:
        self.before = self.after = step

    def set(self, **values: Any) -> None:
        """Give the step other values."""
        self.after = replace(self.after, **values)
