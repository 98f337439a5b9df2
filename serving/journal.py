"""The memory of the work: workitems, decisions, findings, results, deliveries and events.

Every write may be repeated: rows are keyed by what they are about.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, get_args

from sqlalchemy import Connection, Engine, Table, case, delete, func, insert, select, update

from dicom_node import schema
from imaging.errors import NotFound
from imaging.findings import ObjectRef
from imaging.reasons import Reason
from serving.records import (
    DecisionRecord,
    Delivery,
    DeliveryState,
    Event,
    FindingRecord,
    Record,
    Result,
    ResultKind,
    Workitem,
    WorkitemState,
)

_R = TypeVar("_R", bound=Record)
Clock = Callable[[], float]


def delivery_id(instance_uid: str, destination: str) -> str:
    """Return the id of the item that brings one result to one destination."""
    return f"{instance_uid}/{destination}"


class Journal:
    """Reads and writes the rows of one tenant; safe to share between threads."""

    def __init__(self, engine: Engine, *, tenant: str, clock: Clock) -> None:
        self._engine, self._tenant, self._clock = engine, tenant, clock

    # Workitems

    def schedule(
        self, workitem_uid: str, *, study_uid: str, content_digest: str, priority: int
    ) -> bool:
        """Note a new workitem; return False when it is already known."""
        with schema.writing(self._engine) as db:
            if self._first(db, Workitem, schema.workitems, workitem_uid=workitem_uid):
                return False
            row = {
                "workitem_uid": workitem_uid,
                "study_uid": study_uid,
                "content_digest": content_digest,
                "state": "SCHEDULED",
                "stage": "waiting",
                "priority": priority,
                "reason_code": "",
                "reason_text": "",
                "created_at": self._clock(),
                "timings": {},
            }
            db.execute(insert(schema.workitems).values(tenant=self._tenant, **row))
            self._event(db, "scheduled", workitem_uid=workitem_uid, text="analysis scheduled")
        return True

    def begin(self, workitem_uid: str) -> None:
        """Mark a workitem as in progress; when it first began stays."""
        with schema.writing(self._engine) as db:
            item = self._first(db, Workitem, schema.workitems, workitem_uid=workitem_uid)
            started = (item and item.started_at) or self._clock()
            self._set(db, workitem_uid, state="IN PROGRESS", stage="reading", started_at=started)
            self._event(db, "started", workitem_uid=workitem_uid, text="analysis started")

    def started_at(self, workitem_uid: str) -> float:
        """Return when a workitem first began."""
        item = self.workitem(workitem_uid)
        if item is None or item.started_at is None:
            msg = f"workitem {workitem_uid} has not begun"
            raise NotFound(msg)
        return item.started_at

    def note_failure(self, workitem_uid: str, reason: Reason) -> None:
        """Note why a model of a workitem in progress gave no result."""
        with schema.writing(self._engine) as db:
            self._set(db, workitem_uid, reason_code=reason.code, reason_text=reason.text)
            self._event(db, "not performed", workitem_uid=workitem_uid, text=reason.text)

    def end(self, workitem_uid: str, state: WorkitemState, reason: Reason | None) -> None:
        """Mark a workitem as completed or canceled; without a `reason` what was noted stays."""
        ended: dict[str, Any] = {"state": state, "stage": "ended", "ended_at": self._clock()}
        if reason:
            ended |= {"reason_code": reason.code, "reason_text": reason.text}
        with schema.writing(self._engine) as db:
            self._set(db, workitem_uid, **ended)
            text = reason.text if reason else "analysis ended"
            self._event(db, state.lower(), workitem_uid=workitem_uid, text=text)

    def add_timings(self, workitem_uid: str, timings: dict[str, float]) -> None:
        """Add seconds by stage to those of a workitem."""
        with schema.writing(self._engine) as db:
            item = self._first(db, Workitem, schema.workitems, workitem_uid=workitem_uid)
            known = item.timings if item else {}
            total = known | {name: known.get(name, 0.0) + s for name, s in timings.items()}
            self._set(db, workitem_uid, timings=total)

    def workitem(self, workitem_uid: str) -> Workitem | None:
        """Return one workitem."""
        with self._engine.connect() as db:
            return self._first(db, Workitem, schema.workitems, workitem_uid=workitem_uid)

    def workitems(
        self, *, study_uid: str | None = None, state: str | None = None
    ) -> tuple[Workitem, ...]:
        """Return workitems, newest first."""
        found = self._all(Workitem, schema.workitems, study_uid=study_uid, state=state)
        return tuple(sorted(found, key=lambda item: -item.created_at))

    # What came of it

    def record_decisions(
        self, workitem_uid: str, study_uid: str, decisions: Sequence[DecisionRecord]
    ) -> None:
        """Store the decisions of a workitem, replacing earlier ones."""
        table = schema.decisions
        with schema.writing(self._engine) as db:
            db.execute(delete(table).where(*self._where(table, workitem_uid=workitem_uid)))
            for decision in decisions:
                row = decision.model_dump() | {"study_uid": study_uid, "tenant": self._tenant}
                db.execute(insert(table).values(**row))

    def record_findings(self, study_uid: str, findings: Sequence[FindingRecord]) -> None:
        """Store findings, each under its tracking UID."""
        table = schema.findings
        with schema.writing(self._engine) as db:
            for finding in findings:
                key = {"workitem_uid": finding.workitem_uid, "tracking_uid": finding.tracking_uid}
                db.execute(delete(table).where(*self._where(table, **key)))
                row = key | {
                    "tenant": self._tenant,
                    "study_uid": study_uid,
                    "series_uid": finding.series_uid,
                    "model": finding.model,
                    "content": finding.model_dump(),
                }
                db.execute(insert(table).values(**row))

    def record_result(self, result: Result) -> None:
        """Store a result; a repeated analysis of the same content takes it over."""
        table = schema.results
        with schema.writing(self._engine) as db:
            where = self._where(table, instance_uid=result.instance_uid)
            db.execute(delete(table).where(*where))
            db.execute(insert(table).values(tenant=self._tenant, **result.model_dump()))

    def supersede(self, study_uid: str, model: str, *, by: Sequence[Result]) -> None:
        """Mark earlier results of a model in a study, and notices that none read it, as superseded.

        By what is of the same kind, else by the SR; a notice leaves earlier findings standing.
        """
        table, heirs = schema.results, {result.kind: result.instance_uid for result in by}
        with schema.writing(self._engine) as db:
            for earlier in get_args(ResultKind):
                heir = heirs.get(earlier, heirs.get("SR"))
                if heir:
                    db.execute(
                        update(table)
                        .where(*self._where(table, study_uid=study_uid, kind=earlier))
                        .where(table.c.model.in_((model, "")), table.c.superseded_by.is_(None))
                        .where(table.c.instance_uid.not_in(list(heirs.values())))
                        .values(superseded_by=heir)
                    )

    def predecessors(self, study_uid: str, model: str, *, not_of: str) -> tuple[ObjectRef, ...]:
        """Return the current SRs of a model in a study, but those of workitem `not_of`."""
        found = self._all(Result, schema.results, study_uid=study_uid, model=model, kind="SR")
        return tuple(
            ObjectRef(
                sop_class_uid=result.sop_class_uid,
                instance_uid=result.instance_uid,
                series_uid=result.series_uid,
                study_uid=study_uid,
            )
            for result in found
            if result.workitem_uid != not_of
            and result.state == "valid"
            and not result.superseded_by
        )

    def decisions(self, study_uid: str) -> tuple[DecisionRecord, ...]:
        """Return all decisions about a study."""
        return self._all(DecisionRecord, schema.decisions, study_uid=study_uid)

    def findings(self, study_uid: str) -> tuple[FindingRecord, ...]:
        """Return all findings of a study."""
        table = schema.findings
        with self._engine.connect() as db:
            rows = db.execute(
                select(table.c.content).where(*self._where(table, study_uid=study_uid))
            )
            return tuple(FindingRecord.model_validate(row.content) for row in rows)

    def results(
        self, *, study_uid: str | None = None, workitem_uid: str | None = None
    ) -> tuple[Result, ...]:
        """Return results, oldest first."""
        found = self._all(Result, schema.results, study_uid=study_uid, workitem_uid=workitem_uid)
        return tuple(sorted(found, key=lambda result: (result.created_at, result.kind)))

    # Deliveries

    def plan_delivery(self, result: Result, destination: str) -> None:
        """Note that `result` must reach `destination`.

        A step that is repeated changes nothing; another analysis starts anew what is not proven.
        """
        table, item_id = schema.deliveries, delivery_id(result.instance_uid, destination)
        with schema.writing(self._engine) as db:
            known = self._first(db, Delivery, table, delivery_id=item_id)
            if known and (known.state == "proven" or known.workitem_uid == result.workitem_uid):
                return
            db.execute(delete(table).where(*self._where(table, delivery_id=item_id)))
            row = {
                "delivery_id": item_id,
                "instance_uid": result.instance_uid,
                "workitem_uid": result.workitem_uid,
                "study_uid": result.study_uid,
                "destination": destination,
                "state": "waiting",
                "planned_at": self._clock(),
                "attempts": 0,
                "last_error": "",
                "proof": "",
            }
            db.execute(insert(table).values(tenant=self._tenant, **row))

    def update_deliveries(
        self,
        instance_uids: Sequence[str],
        destination: str,
        state: DeliveryState,
        *,
        error: str = "",
        retry_in_s: float | None = None,
        proof: str = "",
    ) -> None:
        """Note the outcome of an attempt to bring results to a destination."""
        now, table = self._clock(), schema.deliveries
        values: dict[str, Any] = {
            "state": state,
            "last_error": error,
            "next_attempt_at": None if retry_in_s is None else now + retry_in_s,
            # Waiting for the proof of what was sent is no further attempt.
            "attempts": table.c.attempts + case((table.c.state == "delivered", 0), else_=1),
            "proof": proof,
        }
        if state == "waiting":
            values["transaction_uid"] = None
        if state in {"delivered", "proven"}:
            values["delivered_at"] = now
        if state == "proven":
            values["proven_at"] = now
        with schema.writing(self._engine) as db:
            for uid in instance_uids:
                where = self._where(table, delivery_id=delivery_id(uid, destination))
                db.execute(update(table).where(*where).values(**values))
                item = self._first(db, Delivery, table, delivery_id=delivery_id(uid, destination))
                if item:
                    text = f"result for {destination}: {error or state}"
                    self._event(db, f"delivery {state}", workitem_uid=item.workitem_uid, text=text)

    def start_over(self, instance_uids: Sequence[str], destination: str) -> None:
        """Let deliveries that were refused or given up wait again, as if they were new."""
        table = schema.deliveries
        ids = [delivery_id(uid, destination) for uid in instance_uids]
        again = {"state": "waiting", "attempts": 0, "planned_at": self._clock()}
        with schema.writing(self._engine) as db:
            db.execute(
                update(table)
                .where(*self._where(table), table.c.delivery_id.in_(ids))
                .where(table.c.state.in_(("refused", "failed")))
                .values(**again)
            )

    def note_transaction(
        self, instance_uids: Sequence[str], destination: str, transaction_uid: str
    ) -> None:
        """Note under which transaction a destination was asked to commit to results."""
        table = schema.deliveries
        ids = [delivery_id(uid, destination) for uid in instance_uids]
        with schema.writing(self._engine) as db:
            where = [*self._where(table), table.c.delivery_id.in_(ids)]
            db.execute(update(table).where(*where).values(transaction_uid=transaction_uid))

    def deliveries_of(self, instance_uids: Sequence[str], destination: str) -> tuple[Delivery, ...]:
        """Return the deliveries of these results to a destination."""
        table = schema.deliveries
        ids = [delivery_id(uid, destination) for uid in instance_uids]
        query = select(table).where(*self._where(table), table.c.delivery_id.in_(ids))
        with self._engine.connect() as db:
            return tuple(Delivery.model_validate(row) for row in db.execute(query))

    def deliveries(
        self,
        *,
        study_uid: str | None = None,
        workitem_uid: str | None = None,
        state: str | None = None,
    ) -> tuple[Delivery, ...]:
        """Return delivery items."""
        return self._all(
            Delivery, schema.deliveries, study_uid=study_uid, workitem_uid=workitem_uid, state=state
        )

    # Events and figures

    def events_after(self, last_id: int, *, limit: int = 500) -> tuple[Event, ...]:
        """Return events with a larger id, in order."""
        table = schema.events
        with self._engine.connect() as db:
            query = select(table).where(*self._where(table), table.c.id > last_id)
            rows = db.execute(query.order_by(table.c.id).limit(limit))
            return tuple(Event.model_validate(row) for row in rows)

    def last_event_id(self) -> int:
        """Return the id of the newest event, 0 without any."""
        table = schema.events
        with self._engine.connect() as db:
            query = select(func.coalesce(func.max(table.c.id), 0)).where(*self._where(table))
            return int(db.execute(query).scalar_one())

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how many workitems, deliveries and results are in each state."""
        found: dict[tuple[str, str], int] = {}
        with self._engine.connect() as db:
            for table in (schema.workitems, schema.deliveries, schema.results):
                query = select(table.c.state, func.count()).where(*self._where(table))
                for state, number in db.execute(query.group_by(table.c.state)):
                    found[table.name, state] = number
        return found

    # Rows

    def _where(self, table: Table, **values: str | None) -> list[Any]:
        given = [table.c[name] == value for name, value in values.items() if value is not None]
        return [table.c.tenant == self._tenant, *given]

    def _first(self, db: Connection, record: type[_R], table: Table, **key: str) -> _R | None:
        row = db.execute(select(table).where(*self._where(table, **key))).first()
        return record.model_validate(row) if row else None

    def _all(self, record: type[_R], table: Table, **values: str | None) -> tuple[_R, ...]:
        with self._engine.connect() as db:
            rows = db.execute(select(table).where(*self._where(table, **values)))
            return tuple(record.model_validate(row) for row in rows)

    def _set(self, db: Connection, workitem_uid: str, **values: Any) -> None:
        table = schema.workitems
        where = self._where(table, workitem_uid=workitem_uid)
        db.execute(update(table).where(*where).values(**values))

    def _event(self, db: Connection, kind: str, *, workitem_uid: str, text: str) -> None:
        item = self._first(db, Workitem, schema.workitems, workitem_uid=workitem_uid)
        row = {
            "at": self._clock(),
            "kind": kind,
            "study_uid": item.study_uid if item else "",
            "workitem_uid": workitem_uid,
            "text": text,
        }
        db.execute(insert(schema.events).values(tenant=self._tenant, **row))
