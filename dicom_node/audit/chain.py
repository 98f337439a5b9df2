"""The chain of audit records: each digest covers a record and the digest of the one before.

So whoever changes, removes, inserts or reorders records must rewrite all that come after, and the
newest digest, the head, becomes another one. A chain that was cut at its end is sound in itself:
only a head that was noted elsewhere shows what is missing.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import sqlalchemy as sa
from typing_extensions import override

from dicom_node import schema
from dicom_node.audit.message import AuditEvent, clean, xml_of
from dicom_node.schema_audit import audit_records as table

_LOCK = 0x41554454  # any constant: the advisory lock of PostgreSQL for appending
_ROWS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A place in the chain: the number of a record, and its digest."""

    number: int
    digest: str

    @override
    def __str__(self) -> str:
        return f"{self.number} {self.digest}"


FIRST = Head(number=0, digest="0" * 64)  # what the very first record follows


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One record as it is stored."""

    number: int
    at: float
    event: str
    study_uid: str
    user: str
    message: str
    removed: str
    digest: str

    def digest_after(self, previous: str, tenant: str) -> str:
        """Return what the digest must be."""
        covered = [previous, tenant, self.number, self.at, self.event, self.study_uid]
        covered += [self.user, self.message, self.removed]
        return hashlib.sha256(json.dumps(covered).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a look at the whole chain found; `head` is its newest record."""

    records: int
    head: Head
    problems: tuple[str, ...]


class AuditChain:
    """The records of one tenant; safe to share between threads and processes."""

    def __init__(self, engine: sa.Engine, *, tenant: str, source: str) -> None:
        self._engine, self._tenant, self._source = engine, tenant, source

    def append(self, events: Sequence[tuple[float, AuditEvent]]) -> Head:
        """Store events with their times; durable when this returns. Nobody else comes between."""
        with schema.writing(self._engine) as db:
            if db.dialect.name == "postgresql":
                db.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            head = self._head(db)
            rows = []
            for at, event in events:
                head, row = self._next(head, at, event)
                rows.append(row)
            if rows:
                db.execute(sa.insert(table), rows)
        return head

    def head(self) -> Head:
        """Return the newest record."""
        with self._engine.connect() as db:
            return self._head(db)

    def records(
        self, *, since: float = 0.0, study_uid: str = "", user: str = ""
    ) -> Iterator[AuditRecord]:
        """Yield records in order."""
        query = self._select().where(table.c.at >= since)
        if study_uid:
            query = query.where(table.c.study_uid == study_uid)
        if user:
            query = query.where(table.c.user == user)
        yield from self._read(query)

    def batch(self, *, after: int, most: int) -> tuple[AuditRecord, ...]:
        """Return the next records after a number."""
        return tuple(self._read(self._select().where(table.c.number > after).limit(most)))

    def forget(self, event: AuditEvent, *, before: float, at: float) -> int:
        """Remove records older than `before`; say in the chain, by `event`, where it now begins."""
        with self._engine.connect() as db:
            kept = sa.select(sa.func.min(table.c.number)).where(*self._mine(), table.c.at >= before)
            last = sa.select(table.c.number, table.c.digest).where(*self._mine())
            first = db.execute(kept).scalar()
            if first is not None:
                last = last.where(table.c.number < first)
            found = db.execute(last.order_by(table.c.number.desc()).limit(1)).first()
        if found is None:
            return 0
        removed = Head(number=found.number, digest=found.digest)
        self.append([(at, replace(event, removed=str(removed)))])
        with schema.writing(self._engine) as db:
            old = sa.delete(table).where(*self._mine(), table.c.number <= removed.number)
            return int(db.execute(old).rowcount)

    def verify(self, noted: str = "") -> Verdict:
        """Look at every record, and for the digest of a head that was `noted` elsewhere."""
        look = _Look(tenant=self._tenant, noted=noted)
        for record in self._read(self._select()):
            look.at(record)
        return look.verdict()

    def _select(self) -> sa.Select[Any]:
        columns = [column for column in table.c if column.name != "tenant"]
        return sa.select(*columns).where(*self._mine()).order_by(table.c.number)

    def _read(self, query: sa.Select[Any]) -> Iterator[AuditRecord]:
        with self._engine.connect() as db:
            rows = db.execution_options(yield_per=_ROWS_AT_ONCE).execute(query)
            for row in rows.mappings():
                yield AuditRecord(**row)

    def _mine(self) -> tuple[sa.ColumnElement[bool], ...]:
        return (table.c.tenant == self._tenant,)

    def _head(self, db: sa.Connection) -> Head:
        query = sa.select(table.c.number, table.c.digest).where(*self._mine())
        found = db.execute(query.order_by(table.c.number.desc()).limit(1)).first()
        return Head(number=found.number, digest=found.digest) if found else FIRST

    def _next(self, head: Head, at: float, event: AuditEvent) -> tuple[Head, dict[str, Any]]:
        record = AuditRecord(
            number=head.number + 1,
            at=at,
            event=event.kind.name,
            study_uid=clean(event.study_uid),
            user=clean(event.user),
            message=xml_of(event, at=at, source=self._source),
            removed=event.removed,
            digest="",
        )
        digest = record.digest_after(head.digest, self._tenant)
        row = {each.name: getattr(record, each.name) for each in fields(record)}
        row |= {"digest": digest, "tenant": self._tenant}
        return Head(number=record.number, digest=digest), row


class _Look:
    """Goes through records in order and remembers what is wrong."""

    def __init__(self, *, tenant: str, noted: str) -> None:
        self._tenant, self._noted = tenant, noted
        self._first: AuditRecord | None = None
        self._last, self._records = FIRST, 0
        self._removed = {FIRST.digest: FIRST.number}  # digests that the chain may go on after
        self._was_seen = noted == ""
        self._problems: list[str] = []

    def at(self, record: AuditRecord) -> None:
        """Look at the next record."""
        if self._first is None:
            self._first = record
        elif record.number != self._last.number + 1:
            self._missing(self._last.number + 1, record.number - 1)
        elif record.digest != record.digest_after(self._last.digest, self._tenant):
            self._problems.append(_not_what_it_was(record))
        if record.removed:
            number, digest = record.removed.split()
            self._removed[digest] = int(number)
        self._was_seen |= record.digest == self._noted
        self._last = Head(number=record.number, digest=record.digest)
        self._records += 1

    def verdict(self) -> Verdict:
        """Return what was found."""
        self._begin()
        if not (self._was_seen or self._noted in self._removed):
            text = (
                f"no record has the digest {self._noted}: what it was noted of was changed or cut"
            )
            self._problems.append(text)
        return Verdict(records=self._records, head=self._last, problems=tuple(self._problems))

    def _begin(self) -> None:
        """Check the first record, once it is known what was removed before it."""
        first = self._first
        if first is None:
            return
        before = [digest for digest, n in self._removed.items() if n == first.number - 1]
        if not before:
            self._missing(1 + max(self._removed.values()), first.number - 1)
        elif all(first.digest != first.digest_after(each, self._tenant) for each in before):
            self._problems.append(_not_what_it_was(first))

    def _missing(self, first: int, last: int) -> None:
        which = f"record {first} is" if first == last else f"records {first} to {last} are"
        self._problems.append(f"{which} missing")


def _not_what_it_was(record: AuditRecord) -> str:
    return f"record {record.number} is not what was written, or not where"
