"""What the memory of the work is made of: reading rows as records, and noting events."""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Table, insert, select

from dicom_node import schema
from serving.records import Record, Workitem

_R = TypeVar("_R", bound=Record)
Clock = Callable[[], float]


class Rows:
    """The rows of one tenant; safe to share between threads."""

    def __init__(self, engine: Engine, *, tenant: str, clock: Clock) -> None:
        self._engine, self._tenant, self._clock = engine, tenant, clock

    def _where(self, table: Table, **values: str | None) -> list[Any]:
        given = [table.c[name] == value for name, value in values.items() if value is not None]
        return [table.c.tenant == self._tenant, *given]

    def _first(self, db: Connection, record: type[_R], table: Table, **key: str) -> _R | None:
        row = db.execute(select(table).where(*self._where(table, **key))).first()
        return record.model_validate(row) if row else None

    def _all(self, record: type[_R], table: Table, **values: str | None) -> tuple[_R, ...]:
        with self._engine.connect() as db:
            return self._rows(db, record, table, **values)

    def _rows(
        self, db: Connection, record: type[_R], table: Table, **values: str | None
    ) -> tuple[_R, ...]:
        rows = db.execute(select(table).where(*self._where(table, **values)))
        return tuple(record.model_validate(row) for row in rows)

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
