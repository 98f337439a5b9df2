"""The memory of messages: what other systems are told of a study, one row for each target.

A message is planned in the transaction that ends an analysis, so neither is without the other. It
says how things stand, so a newer one to the same target takes the place of one that still waits.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Connection, Engine, exists, func, insert, or_, select, update
from typing_extensions import override

from dicom_node import schema
from dicom_node.schema_messages import messages
from imaging.errors import Conflict, NotFound
from serving.records import TIME, UID, WORKITEM, Record
from serving.rows import Clock, Rows

MessageEvent = Literal["completed", "not_performed", "failed", "canceled", "assessed"]
MessageState = Literal["waiting", "delivered", "refused", "failed", "canceled", "superseded"]
_NAMESPACE = uuid.UUID("6f2d7c0e-3b0a-4a55-9d0c-8d1f7a5be9f4")
_ENDED: tuple[MessageState, ...] = ("refused", "failed")


class Message(Record):
    """One message on its way to one target."""

    seq: int = Field(examples=[17], description="a later one of a study is newer")
    message_id: str = Field(examples=["0d9c3c0e-1b1f-5a51-8f3a-6f0f0a6a1c11"])
    study_uid: str = UID
    workitem_uid: str = WORKITEM
    target: str = Field(examples=["ris"])
    event: MessageEvent = Field(examples=["completed"])
    state: MessageState = Field(examples=["waiting"])
    planned_at: float = TIME
    attempts: int = Field(examples=[2])
    next_attempt_at: float | None = TIME
    ended_at: float | None = TIME
    answer: str = Field("", examples=["HTTP 503"], description="the code of the last answer")
    words: str = Field("", description="what else was said, or why there was no answer")


class Messages(Rows):
    """Reads and writes messages; `wanted` are the events that each target is told."""

    @override
    def __init__(
        self,
        engine: Engine,
        *,
        tenant: str,
        clock: Clock,
        wanted: Mapping[str, Sequence[MessageEvent]],
    ) -> None:
        super().__init__(engine, tenant=tenant, clock=clock)
        self._wanted = wanted

    def plan(
        self,
        db: Connection,
        event: MessageEvent,
        *,
        study_uid: str,
        workitem_uid: str,
        which: str = "",
    ) -> None:
        """Note within a transaction whom an event must reach; the same event again adds nothing."""
        for target in (name for name, events in self._wanted.items() if event in events):
            about = "\x1f".join((self._tenant, target, workitem_uid, event, which))
            key = {"message_id": str(uuid.uuid5(_NAMESPACE, about))}
            if self._first(db, Message, messages, **key) is None:
                row = {
                    "study_uid": study_uid,
                    "workitem_uid": workitem_uid,
                    "target": target,
                    "event": event,
                    "state": "waiting",
                    "planned_at": self._clock(),
                    "attempts": 0,
                    "answer": "",
                    "words": "",
                }
                db.execute(insert(messages).values(tenant=self._tenant, **key, **row))
                self._end_older(db, target)

    def plan_assessed(self, study_uid: str, workitem_uid: str, number: int) -> None:
        """Note whom assessments must reach; `number` is their newest row."""
        if not self._wanted:
            return
        with schema.writing(self._engine) as db:
            item = self._where(schema.workitems, workitem_uid=workitem_uid)
            # One at a time, where two workers file the same assessments.
            db.execute(select(schema.workitems.c.state).where(*item).with_for_update())
            self.plan(
                db, "assessed", study_uid=study_uid, workitem_uid=workitem_uid, which=str(number)
            )

    def due(self, target: str) -> Message | None:
        """Return what a target must be told next, nothing when there is nothing now."""
        waits = messages.c.next_attempt_at
        query = (
            select(messages)
            .where(*self._where(messages, target=target, state="waiting"))
            .where(or_(waits.is_(None), waits <= self._clock()))
            .order_by(messages.c.seq)
            .limit(1)
        )
        with self._engine.connect() as db:
            if db.execute(query).first() is None:
                return None
        with schema.writing(self._engine) as db:
            self._end_older(db, target)  # two that were planned at once do not see each other
            row = db.execute(query).first()
            return Message.model_validate(row) if row else None

    def body(self, message: Message) -> bytes | None:
        """Return what is sent, if it was composed already."""
        where = self._where(messages, message_id=message.message_id)
        with self._engine.connect() as db:
            body: bytes | None = db.execute(select(messages.c.body).where(*where)).scalar()
        return body

    def told_before(self, message: Message) -> tuple[bytes, ...]:
        """Return what was composed for the same target about the same study before, in order."""
        where = self._where(messages, study_uid=message.study_uid, target=message.target)
        query = (
            select(messages.c.body)
            .where(*where, messages.c.seq < message.seq, messages.c.body.is_not(None))
            .order_by(messages.c.seq)
        )
        with self._engine.connect() as db:
            return tuple(db.execute(query).scalars())

    def keep(self, message: Message, body: bytes) -> None:
        """Store what is sent, before it is: each attempt sends the same."""
        self._change(message, body=body)

    def note(
        self,
        message: Message,
        state: MessageState,
        *,
        answer: str = "",
        words: str = "",
        retry_in_s: float | None = None,
    ) -> None:
        """Note what came of an attempt; what was replaced or canceled meanwhile waits no more."""
        now = self._clock()
        again = None if retry_in_s is None else now + retry_in_s
        values = {"attempts": messages.c.attempts + 1, "answer": answer, "words": words}
        self._change(message, **values)
        ended = {"state": state, "next_attempt_at": again}
        if state != "waiting":
            ended["ended_at"] = now
        where = () if state == "delivered" else (messages.c.state == "waiting",)
        self._change(message, *where, **ended)

    def hurry(self, target: str) -> None:
        """Let what got no answer be tried at once: another message got one."""
        where = [*self._where(messages, target=target, state="waiting", answer="")]
        with schema.writing(self._engine) as db:
            db.execute(update(messages).where(*where).values(next_attempt_at=None))

    def give_up(self, *, planned_before: float) -> None:
        """End what waits for a target that the settings no longer name, after days."""
        where = [*self._where(messages, state="waiting"), messages.c.target.not_in(self._wanted)]
        words = {"words": "the target is not configured"}
        ended = {"state": "failed", "ended_at": self._clock()}
        with schema.writing(self._engine) as db:
            db.execute(update(messages).where(*where).values(**words))
            old = messages.c.planned_at < planned_before
            db.execute(update(messages).where(*where, old).values(**ended))

    def start_over(
        self, *, study_uid: str | None = None, target: str | None = None
    ) -> tuple[Message, ...]:
        """Try at once what waits, was refused or given up, unless a newer message replaced it.

        Raises
        ------
        Conflict
            There is nothing of that kind.
        """
        where = [
            *self._where(messages, study_uid=study_uid, target=target),
            messages.c.state.in_(("waiting", *_ENDED)),
            ~self._newer(),
        ]
        again = {"state": "waiting", "attempts": 0, "planned_at": self._clock()}
        with schema.writing(self._engine) as db:
            found = tuple(map(Message.model_validate, db.execute(select(messages).where(*where))))
            uids = [each.message_id for each in found]
            mine = [*self._where(messages), messages.c.message_id.in_(uids)]
            open_ = {"next_attempt_at": None, "ended_at": None}
            db.execute(update(messages).where(*mine).values(**again, **open_))
        if not found:
            msg = "no notification waits, was refused or given up"
            raise Conflict(msg)
        return found

    def cancel(self, message_id: str) -> Message:
        """Let a message that waits be sent no more.

        Raises
        ------
        NotFound
            There is no such message.
        Conflict
            It does not wait.
        """
        with schema.writing(self._engine) as db:
            found = self._first(db, Message, messages, message_id=message_id)
            if found is None:
                msg = f"there is no notification {message_id}"
                raise NotFound(msg)
            if found.state != "waiting":
                msg = f"the notification is {found.state} already"
                raise Conflict(msg)
            ended = {"state": "canceled", "ended_at": self._clock(), "next_attempt_at": None}
            where = self._where(messages, message_id=message_id)
            db.execute(update(messages).where(*where).values(**ended))
        return found.model_copy(update=ended)

    def listed(
        self, *, study_uid: str | None = None, state: str | None = None, target: str | None = None
    ) -> tuple[Message, ...]:
        """Return messages, newest first."""
        found = self._all(Message, messages, study_uid=study_uid, state=state, target=target)
        return tuple(sorted(found, key=lambda message: -message.seq))

    def open(self, *, limit: int) -> tuple[Message, ...]:
        """Return the newest that wait, were refused or given up, and that no newer one replaced."""
        query = (
            select(*(column for column in messages.c if column.name != "body"))
            .where(*self._where(messages), messages.c.state.in_(("waiting", *_ENDED)))
            .where(~self._newer())
            .order_by(messages.c.seq.desc())
            .limit(limit)
        )
        with self._engine.connect() as db:
            return tuple(map(Message.model_validate, db.execute(query)))

    def counts_by_target(self) -> dict[tuple[str, str], int]:
        """Return how many messages to each target are in each state."""
        by = messages.c.target, messages.c.state
        query = select(*by, func.count()).where(*self._where(messages)).group_by(*by)
        with self._engine.connect() as db:
            return {(target, state): number for target, state, number in db.execute(query)}

    def last_delivered(self) -> dict[str, float]:
        """Return when each target took a message last."""
        where = self._where(messages, state="delivered")
        query = select(messages.c.target, func.max(messages.c.ended_at)).where(*where)
        with self._engine.connect() as db:
            return {name: at for name, at in db.execute(query.group_by(messages.c.target))}  # noqa: C416 - typed

    def _change(self, message: Message, *where: Any, **values: Any) -> None:
        mine = self._where(messages, message_id=message.message_id)
        with schema.writing(self._engine) as db:
            db.execute(update(messages).where(*mine, *where).values(**values))

    def _end_older(self, db: Connection, target: str) -> None:
        """End what waits for a target though a newer message of the same study is there."""
        where = [*self._where(messages, target=target, state="waiting"), self._newer()]
        ended = {"state": "superseded", "ended_at": self._clock(), "next_attempt_at": None}
        db.execute(update(messages).where(*where).values(**ended))

    def _newer(self) -> Any:
        """Whether a newer message of the same study to the same target is there."""
        newer = messages.alias()
        return exists(
            select(newer.c.seq).where(
                newer.c.tenant == self._tenant,
                newer.c.study_uid == messages.c.study_uid,
                newer.c.target == messages.c.target,
                newer.c.seq > messages.c.seq,
                newer.c.state != "canceled",
            )
        )
