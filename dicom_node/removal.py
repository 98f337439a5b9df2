"""Removing studies: first every row, with a note of each file, then the files.

A process may die anywhere: a row whose file is gone is never left, and a file that is noted is
removed in the end. A study that is sent again meanwhile takes its files back (`Index.add`).
"""

from dataclasses import replace

import sqlalchemy as sa

from dicom_node.archive import Archive
from dicom_node.audit.auditor import Auditor
from dicom_node.audit.kinds import Kind
from dicom_node.audit.message import AuditEvent
from dicom_node.index import Index
from dicom_node.saved_tables import saved_objects
from dicom_node.schema import (
    instances,
    removals,
    requests,
    series,
    series_documents,
    set_aside,
    studies,
    writing,
)

_AT_ONCE = 50
_TABLES = (saved_objects, series_documents, requests, series, studies)


class Removal:
    """Takes studies out of the index, and their files out of the archive."""

    def __init__(self, index: Index, archive: Archive, auditor: Auditor) -> None:
        self._engine, self._tenant, self._archive = index.engine, index.tenant, archive
        self._auditor = auditor

    def is_unchanged(self, connection: sa.Connection, study_uid: str, *, received: int) -> bool:
        """Whether a study is complete and has got nothing more; it gets nothing until the end."""
        query = (
            sa.select(studies.c.received)
            .where(studies.c.tenant == self._tenant, studies.c.study_uid == study_uid)
            .where(studies.c.state == "complete")
            .with_for_update()
        )
        return connection.execute(query).scalar() == received

    def tell(self, study_uid: str, patient_id: str, why: str) -> None:
        """Record that a study was removed."""
        event = AuditEvent(
            kind=Kind.STUDY_DELETED,
            actors=(replace(self._auditor.process, asked=True),),
            study_uid=study_uid,
            patient_id=patient_id,
            text=why,
        )
        self._auditor.write(event)

    def forget(self, connection: sa.Connection, study_uid: str) -> None:
        """Delete all rows of a study here, and note its files as to be removed."""
        paths: set[str] = set()
        for table in (instances, set_aside):
            deleted = sa.delete(table).where(*self._of(table, study_uid)).returning(table.c.path)
            paths.update(path for path in connection.execute(deleted).scalars() if path)
        notes = [{"tenant": self._tenant, "path": path} for path in sorted(paths)]
        if notes:
            connection.execute(sa.insert(removals), notes)
        for table in _TABLES:
            connection.execute(sa.delete(table).where(*self._of(table, study_uid)))

    def finish(self) -> int:
        """Remove the files that are noted; return how many."""
        number = 0
        while paths := self._noted():
            number += self._remove(paths)
        return number

    def _of(self, table: sa.Table, study_uid: str) -> list[sa.ColumnElement[bool]]:
        return [table.c.tenant == self._tenant, table.c.study_uid == study_uid]

    def _noted(self) -> list[str]:
        query = sa.select(removals.c.path).where(removals.c.tenant == self._tenant)
        with self._engine.connect() as connection:
            return list(connection.execute(query.limit(_AT_ONCE)).scalars())

    def _remove(self, paths: list[str]) -> int:
        """Remove files whose note is still there; who writes one anew waits for the end of this."""
        statement = (
            sa.delete(removals)
            .where(removals.c.tenant == self._tenant, removals.c.path.in_(paths))
            .returning(removals.c.path)
        )
        with writing(self._engine) as connection:
            taken = list(connection.execute(statement).scalars())
            for path in taken:
                self._archive.remove(path)
        return len(taken)
