"""Storage commitment transactions as rows: what we asked of peers, and what peers asked of us."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from dicom_node import schema
from dicom_node.commitment import Answer, Named
from dicom_node.schema import commitment_requests as requests
from dicom_node.schema import commitments


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What we asked: `failed` gives the reason of each instance that the peer does not keep.

    `kept` are those it says it keeps; ``None`` in answers noted by older versions.
    """

    transaction_uid: str
    asked_at: float
    answered_at: float | None
    failed: dict[str, int]
    kept: frozenset[str] | None

    def problem(self, instance_uid: str) -> str | None:
        """Return why an instance is not committed to, ``None`` if it is."""
        if instance_uid in self.failed:
            return f"not committed to: reason {self.failed[instance_uid]:04X}"
        if self.kept is not None and instance_uid not in self.kept:
            return "not committed to: the answer does not name it"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a peer asked of us and still has no answer to."""

    transaction_uid: str
    calling_ae: str
    address: str
    named: tuple[Named, ...]
    attempts: int


class Transactions:
    """Rows of one tenant; safe to share between threads. `clock` gives Unix seconds."""

    def __init__(
        self, engine: sa.Engine, clock: Callable[[], float], tenant: str = "default"
    ) -> None:
        self._engine, self._clock, self._tenant = engine, clock, tenant

    def ask(self, transaction_uid: str, destination: str) -> None:
        """Note a request of ours, before it is sent: its answer may come at once."""
        row = {
            "tenant": self._tenant,
            "transaction_uid": transaction_uid,
            "destination": destination,
            "asked_at": self._clock(),
            "failed": {},
        }
        with schema.writing(self._engine) as db:
            db.execute(sa.insert(commitments).values(**row))

    def note(self, answer: Answer) -> bool:
        """Note an answer; False when we did not ask. A repeated answer changes nothing."""
        failed = {named.instance_uid: why for named, why in answer.failed.items()}
        kept = [named.instance_uid for named in answer.kept]
        mine = self._is(commitments, answer.transaction_uid)
        with schema.writing(self._engine) as db:
            if db.execute(sa.select(commitments.c.tenant).where(*mine)).first() is None:
                return False
            db.execute(
                sa.update(commitments)
                .where(*mine, commitments.c.answered_at.is_(None))
                .values(answered_at=self._clock(), failed=failed, kept=kept)
            )
        return True

    def asked(self, transaction_uid: str) -> Asked | None:
        """Return a request of ours."""
        query = sa.select(commitments).where(*self._is(commitments, transaction_uid))
        with self._engine.connect() as db:
            row = db.execute(query).first()
        if row is None:
            return None
        return Asked(
            transaction_uid=row.transaction_uid,
            asked_at=row.asked_at,
            answered_at=row.answered_at,
            failed=row.failed,
            kept=None if row.kept is None else frozenset(row.kept),
        )

    def receive(
        self, transaction_uid: str, named: Sequence[Named], *, calling_ae: str, address: str
    ) -> None:
        """Note a peer's request; one that is repeated is answered again."""
        key = {"transaction_uid": transaction_uid, "calling_ae": calling_ae}
        row = {
            **key,
            "tenant": self._tenant,
            "address": address,
            "named": [[each.sop_class_uid, each.instance_uid] for each in named],
            "received_at": self._clock(),
            "due_at": self._clock(),
            "attempts": 0,
            "last_error": "",
        }
        with schema.writing(self._engine) as db:
            db.execute(sa.delete(requests).where(*self._is(requests, transaction_uid, calling_ae)))
            db.execute(sa.insert(requests).values(**row))

    def due(self) -> tuple[Request, ...]:
        """Return the requests of peers that are to be answered now, oldest first."""
        query = (
            sa.select(requests)
            .where(requests.c.tenant == self._tenant, requests.c.answered_at.is_(None))
            .where(requests.c.due_at <= self._clock())
            .order_by(requests.c.received_at)
        )
        with self._engine.connect() as db:
            return tuple(
                Request(
                    transaction_uid=row.transaction_uid,
                    calling_ae=row.calling_ae,
                    address=row.address,
                    named=tuple(Named(sop_class_uid=c, instance_uid=i) for c, i in row.named),
                    attempts=row.attempts,
                )
                for row in db.execute(query)
            )

    def told(self, request: Request, problem: str | None, *, retry_in_s: float) -> None:
        """Note that a request was answered, or why it was not and when it is tried again."""
        now = self._clock()
        values = {
            "attempts": request.attempts + 1,
            "last_error": problem or "",
            "due_at": now + retry_in_s,
            "answered_at": now if problem is None else None,
        }
        where = self._is(requests, request.transaction_uid, request.calling_ae)
        with schema.writing(self._engine) as db:
            db.execute(sa.update(requests).where(*where).values(**values))

    def _is(
        self, table: sa.Table, transaction_uid: str, calling_ae: str | None = None
    ) -> list[sa.ColumnElement[bool]]:
        mine = [table.c.tenant == self._tenant, table.c.transaction_uid == transaction_uid]
        return mine if calling_ae is None else [*mine, table.c.calling_ae == calling_ae]
