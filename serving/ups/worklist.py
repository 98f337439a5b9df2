"""The memory of the worklist: one row for each step, changed under its lock."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from dicom_node import schema
from imaging.dicom_json import JsonDataset
from imaging.errors import Conflict, NotFound
from serving.ups.dataset import first, one
from serving.ups.rules import PATIENT, STATE, STUDY
from serving.ups.states import State

_steps = schema.ups.steps
_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One Unified Procedure Step. `workitem_uid` names the analysis that performs it, if any."""

    ups_uid: str
    content: JsonDataset
    pushed: bool
    created_at: float
    state: State = State.SCHEDULED
    transaction_uid: str | None = None
    workitem_uid: str | None = None
    ended_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowed:
    """What the database narrows a search by; empty is any."""

    states: Sequence[str] = ()
    study_uids: Sequence[str] = ()
    patient_id: str = ""
    pushed: bool = False  # only what other systems created


class Worklist:
    """The steps of one tenant; safe to share between threads and processes."""

    def __init__(self, engine: sa.Engine, *, tenant: str, clock: Callable[[], float]) -> None:
        self._engine, self._tenant, self.clock = engine, tenant, clock

    def create(self, step: Step) -> None:
        """Keep a new step; durable when this returns.

        Raises
        ------
        Conflict
            There is one of this UID.
        """
        try:
            with schema.writing(self._engine) as db:
                db.execute(sa.insert(_steps).values(tenant=self._tenant, **_row(step)))
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
                db.execute(sa.update(_steps).where(*where).values(**_row(change.after)))

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
                yield _step(row)

    def performing(self, workitem_uid: str) -> Sequence[Step]:
        """Return the steps that an analysis performs."""
        query = sa.select(_steps).where(
            _steps.c.tenant == self._tenant, _steps.c.workitem_uid == workitem_uid
        )
        with self._engine.connect() as db:
            return [_step(row) for row in db.execute(query)]

    def behind(self, *, slack_s: float, limit: int) -> Sequence[str]:
        """Return analyses whose steps are missing or in an earlier state, the first ended first.

        Looked at are those that are open, those whose steps are, and those that ended since the
        last that is known here, or shortly before: clocks of machines differ.
        """
        items, mine = schema.workitems, _steps.c.tenant == self._tenant
        opened = (State.SCHEDULED, State.IN_PROGRESS)
        floor = sa.select(sa.func.coalesce(sa.func.max(_steps.c.ended_at), 0.0)).where(
            mine, _steps.c.pushed.is_(False)
        )
        followed = sa.select(_steps.c.workitem_uid).where(
            mine, _steps.c.state.in_(opened), _steps.c.workitem_uid.is_not(None)
        )
        looked_at = sa.or_(
            items.c.state.in_(opened),
            items.c.ended_at > floor.scalar_subquery() - slack_s,
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
        return _step(row)

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


def _row(step: Step) -> dict[str, object]:
    content = dict(sorted({**step.content, STATE: one("CS", step.state)}.items()))
    return {
        "ups_uid": step.ups_uid,
        "state": step.state.value,
        "transaction_uid": step.transaction_uid,
        "pushed": step.pushed,
        "workitem_uid": step.workitem_uid,
        "study_uid": first(content, STUDY),
        "patient_id": first(content, PATIENT),
        "content": content,
        "created_at": step.created_at,
        "ended_at": step.ended_at,
    }


def _step(row: sa.Row[Any]) -> Step:
    return Step(
        ups_uid=row.ups_uid,
        content=row.content,
        pushed=row.pushed,
        created_at=row.created_at,
        state=State(row.state),
        transaction_uid=row.transaction_uid,
        workitem_uid=row.workitem_uid,
        ended_at=row.ended_at,
    )
