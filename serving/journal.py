"""The memory of the work: workitems, decisions, findings, results and events, and deliveries.

Every write may be repeated: rows are keyed by what they are about.
"""

from collections.abc import Sequence
from typing import Any, get_args

from sqlalchemy import Connection, Engine, delete, func, insert, select, update
from typing_extensions import override

from dicom_node import schema
from dicom_node.schema_messages import messages
from imaging.errors import NotFound
from imaging.findings import ObjectRef
from imaging.reasons import Reason
from serving.deliveries import Deliveries
from serving.messages import MessageEvent, Messages
from serving.monitoring.observations import Observations
from serving.order import next_turn
from serving.precedence import settle
from serving.records import (
    ANSWERS,
    APART,
    DecisionRecord,
    Delivery,
    Event,
    FindingRecord,
    Result,
    ResultKind,
    Workitem,
    WorkitemState,
)
from serving.rows import Clock


class Journal(Deliveries):
    """Reads and writes the rows of one tenant; safe to share between threads."""

    @override
    def __init__(
        self, engine: Engine, *, tenant: str, clock: Clock, messages: Messages | None = None
    ) -> None:
        super().__init__(engine, tenant=tenant, clock=clock)
        self._messages = messages
        self.observations = Observations(engine, tenant=tenant, clock=clock)

    # Workitems

    def schedule(
        self,
        workitem_uid: str,
        *,
        study_uid: str,
        content_digest: str,
        priority: int,
        sender: str = "",
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
                "sender": sender,
                "turn": self._turn(db, sender, priority),
                "reason_code": "",
                "reason_text": "",
                "created_at": self._clock(),
                "timings": {},
            }
            db.execute(insert(schema.workitems).values(tenant=self._tenant, **row))
            settle(db, self._tenant, [study_uid])
            self._event(db, "scheduled", workitem_uid=workitem_uid, text="analysis scheduled")
        return True

    def prioritise(self, workitem_uid: str, priority: int) -> bool:
        """Give a waiting workitem another priority; return whether it still waits."""
        with schema.writing(self._engine) as db:
            item = self._first(db, Workitem, schema.workitems, workitem_uid=workitem_uid)
            if item is None or item.state != "SCHEDULED":
                return False
            turn = self._turn(db, item.sender, priority)
            self._set(db, workitem_uid, priority=priority, turn=turn)
            settle(db, self._tenant, [item.study_uid])
            text = f"priority changed from {item.priority} to {priority}"
            self._event(db, "prioritised", workitem_uid=workitem_uid, text=text)
        return True

    def _turn(self, db: Connection, sender: str, priority: int) -> int:
        """Return the turn of another study of `sender` that waits with this priority."""
        table = schema.workitems
        query = (
            select(table.c.sender, func.min(table.c.turn), func.max(table.c.turn))
            .where(*self._where(table, state="SCHEDULED"), table.c.priority == priority)
            .group_by(table.c.sender)
        )
        return next_turn({row[0]: (row[1], row[2]) for row in db.execute(query)}, sender)

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
            self._set(db, workitem_uid, **_reason_columns(reason))
            self._event(db, "not performed", workitem_uid=workitem_uid, text=reason.text)

    def end(self, workitem_uid: str, state: WorkitemState, reason: Reason | None) -> None:
        """Mark a workitem as completed or canceled; without a `reason` what was noted stays."""
        ended: dict[str, Any] = {"state": state, "stage": "ended", "ended_at": self._clock()}
        if reason:
            ended |= _reason_columns(reason)
        with schema.writing(self._engine) as db:
            self._set(db, workitem_uid, **ended)
            text = reason.text if reason else "analysis ended"
            self._event(db, state.lower(), workitem_uid=workitem_uid, text=text)
            self._tell(db, workitem_uid, state, code=reason.code if reason else "")

    def _tell(self, db: Connection, workitem_uid: str, state: WorkitemState, *, code: str) -> None:
        """Plan what other systems are told of an analysis that ends, in the same transaction."""
        item = self._first(db, Workitem, schema.workitems, workitem_uid=workitem_uid)
        if self._messages is None or item is None or code == "OVERTAKEN":
            return  # what was overtaken never began: there is nothing to tell
        event: MessageEvent = "canceled" if code == "CANCELED_BY_USER" else "failed"
        if state == "COMPLETED":
            where = self._where(schema.results, workitem_uid=workitem_uid, state="valid")
            mine = select(schema.results.c.kind).where(*where)
            read = set(db.execute(mine).scalars()) & set(ANSWERS)
            event = "completed" if read else "not_performed"
        self._messages.plan(db, event, study_uid=item.study_uid, workitem_uid=workitem_uid)

    def fail(self, workitem_uid: str, reason: Reason) -> None:
        """End a workitem whose analysis was given up."""
        self.end(workitem_uid, "CANCELED", reason)

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
            settle(db, self._tenant, [study_uid])

    def record_result(self, result: Result) -> None:
        """Store a result; a repeated analysis of the same content takes it over."""
        table = schema.results
        with schema.writing(self._engine) as db:
            where = self._where(table, instance_uid=result.instance_uid)
            db.execute(delete(table).where(*where))
            db.execute(insert(table).values(tenant=self._tenant, **result.model_dump()))

    def supersede(self, study_uid: str, model: str, *, by: Sequence[Result]) -> None:
        """Mark earlier results of a model in a study, and notices that none read it, as superseded.

        By what is of the same kind, else by the SR; a notice leaves earlier findings standing, and
        readers' assessments are superseded by assessments only.
        """
        table, heirs = schema.results, {result.kind: result.instance_uid for result in by}
        with schema.writing(self._engine) as db:
            for earlier in get_args(ResultKind):
                if earlier in APART:
                    heir = heirs.get("ASSESSMENT") if earlier == "ASSESSMENT" else None
                else:
                    heir = heirs.get(earlier, heirs.get("SR"))
                if heir:
                    db.execute(
                        update(table)
                        .where(*self._where(table, study_uid=study_uid, kind=earlier))
                        .where(table.c.model.in_((model, "")), table.c.superseded_by.is_(None))
                        .where(table.c.instance_uid.not_in(list(heirs.values())))
                        .values(superseded_by=heir)
                    )
            self._end_deliveries(db, study_uid, list(heirs.values()))

    def predecessors(self, study_uid: str, model: str, *, not_of: str) -> tuple[ObjectRef, ...]:
        """Return the SRs of a model in a study that those of workitem `not_of` replace.

        The current ones, and where one of them has not reached everybody also what it replaced:
        else that would look current to whoever never sees the one between.
        """
        found = self._all(Result, schema.results, study_uid=study_uid, model=model, kind="SR")
        own = {None, *(result.instance_uid for result in found if result.workitem_uid == not_of)}
        earlier = [r for r in found if r.workitem_uid != not_of and r.state == "valid"]
        named = [result for result in earlier if result.superseded_by in own]
        for result in named:  # which grows meanwhile
            if not self._has_reached_all(result):
                replaced = (r for r in earlier if r.superseded_by == result.instance_uid)
                named += [r for r in replaced if r not in named]
        return tuple(
            ObjectRef(
                sop_class_uid=result.sop_class_uid,
                instance_uid=result.instance_uid,
                series_uid=result.series_uid,
                study_uid=study_uid,
            )
            for result in named
        )

    def _has_reached_all(self, result: Result) -> bool:
        """Whether a result was planned for somebody, and has arrived wherever it was."""
        items = self._all(Delivery, schema.deliveries, instance_uid=result.instance_uid)
        return bool(items) and all(item.state in {"delivered", "proven"} for item in items)

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

    def result(self, instance_uid: str) -> Result:
        """Return one result."""
        with self._engine.connect() as db:
            found = self._first(db, Result, schema.results, instance_uid=instance_uid)
        if found is None:
            msg = f"there is no result {instance_uid}"
            raise NotFound(msg)
        return found

    def current_findings(self, study_uid: str) -> tuple[FindingRecord, ...]:
        """Return what the newest analysis of a study found."""
        newest = {item.workitem_uid for item in self.workitems(study_uid=study_uid)[:1]}
        return tuple(f for f in self.findings(study_uid) if f.workitem_uid in newest)

    def results(
        self, *, study_uid: str | None = None, workitem_uid: str | None = None
    ) -> tuple[Result, ...]:
        """Return results, oldest first."""
        found = self._all(Result, schema.results, study_uid=study_uid, workitem_uid=workitem_uid)
        return tuple(sorted(found, key=lambda result: (result.created_at, result.kind)))

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
            newest = select(table.c.id).where(*self._where(table)).order_by(table.c.id.desc())
            return db.execute(newest.limit(1)).scalar() or 0

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how many workitems, deliveries, results and messages are in each state."""
        found: dict[tuple[str, str], int] = {}
        with self._engine.connect() as db:
            for table in (schema.workitems, schema.deliveries, schema.results, messages):
                query = select(table.c.state, func.count()).where(*self._where(table))
                for state, number in db.execute(query.group_by(table.c.state)):
                    found[table.name, state] = number
        return found

    def _set(self, db: Connection, workitem_uid: str, **values: Any) -> None:
        table = schema.workitems
        where = self._where(table, workitem_uid=workitem_uid)
        db.execute(update(table).where(*where).values(**values))


def _reason_columns(reason: Reason) -> dict[str, str]:
    return {
        "reason_code": reason.code,
        "reason_text": reason.text,
        "reason_text_zh": reason.text_zh,
    }
