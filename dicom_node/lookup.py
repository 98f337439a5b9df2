"""Reading the index of studies, series and instances."""

import hashlib
from collections.abc import Mapping

import sqlalchemy as sa

from dicom_node.records import (
    Counts,
    SeriesRow,
    SetAside,
    StoredInstance,
    StudyFilter,
    StudyPage,
    StudyRow,
)
from dicom_node.schema import events, instances, removals, series, set_aside, studies
from imaging.errors import NotFound

# Columns that only searches look at (dicom_node.searching).
_SEARCHED = frozenset((
    "referring_physician", "name_key", "name_words", "series_date", "series_time", "step_date",
    "step_time", "rows", "columns", "bits_allocated", "frames",
))  # fmt: skip
_ORDERED_BY = frozenset({"unread", "head_start_h", "due_at", "half_day"})
_RESULT = sa.case((instances.c.origin == "result", 1), else_=0)


def _columns(table: sa.Table, *left_out: str) -> list[sa.Column[object]]:
    hidden = {"tenant", *_SEARCHED, *_ORDERED_BY, *left_out}
    return [column for column in table.columns if column.name not in hidden]


class Lookup:
    """What is in the index, for one tenant."""

    def __init__(self, engine: sa.Engine, tenant: str = "default") -> None:
        self.engine, self.tenant = engine, tenant

    def study(self, study_uid: str) -> StudyRow:
        """Return one study; `NotFound` when it is not here."""
        found = self._studies(studies.c.study_uid == study_uid)
        if not found:
            msg = f"study {study_uid} is not here"
            raise NotFound(msg)
        return found[0]

    def studies(
        self, wanted: StudyFilter | None = None, *, limit: int = 50, offset: int = 0
    ) -> StudyPage:
        """Return the studies that fit, the last received first."""
        where = self.fitting(wanted or StudyFilter())
        count = sa.select(sa.func.count()).select_from(studies).where(*where)
        query = (
            sa.select(*_columns(studies))
            .where(*where)
            .order_by(studies.c.last_received_at.desc(), studies.c.study_uid)
            .limit(limit)
            .offset(offset)
        )
        with self.engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
            total = connection.execute(count).scalar_one()
        return StudyPage(studies=tuple(StudyRow(**row) for row in rows), total=total)

    def receiving_studies(self) -> tuple[StudyRow, ...]:
        """Return every study that is not complete yet."""
        return self._studies(studies.c.state == "receiving")

    def series_of(self, study_uid: str) -> tuple[SeriesRow, ...]:
        """Return the series of a study by number."""
        query = (
            sa.select(
                *_columns(series),
                sa.func.count(instances.c.instance_uid).label("instances"),
                sa.func.coalesce(sa.func.sum(_RESULT), 0).label("results"),
            )
            .outerjoin(
                instances,
                (instances.c.tenant == series.c.tenant)
                & (instances.c.study_uid == series.c.study_uid)
                & (instances.c.series_uid == series.c.series_uid),
            )
            .where(series.c.tenant == self.tenant, series.c.study_uid == study_uid)
            .group_by(*series.columns)
            .order_by(series.c.number, series.c.series_uid)
        )
        with self.engine.connect() as connection:
            return tuple(SeriesRow(**row) for row in connection.execute(query).mappings())

    def instances_of(
        self, study_uid: str, series_uid: str | None = None
    ) -> tuple[StoredInstance, ...]:
        """Return the instances of a study, or of one of its series, by number."""
        where = [instances.c.study_uid == study_uid]
        if series_uid is not None:
            where.append(instances.c.series_uid == series_uid)
        return self._instances(*where)

    def instance(self, instance_uid: str) -> StoredInstance | None:
        """Return one instance, if it is here."""
        return next(iter(self._instances(instances.c.instance_uid == instance_uid)), None)

    def received_counts(self, study_uid: str) -> Mapping[str, int]:
        """Return how many instances of each series were received (results do not count)."""
        query = (
            sa.select(instances.c.series_uid, sa.func.count())
            .where(
                instances.c.tenant == self.tenant,
                instances.c.study_uid == study_uid,
                instances.c.origin == "received",
            )
            .group_by(instances.c.series_uid)
        )
        with self.engine.connect() as connection:
            return {uid: count for uid, count in connection.execute(query)}  # noqa: C416 - typed

    def result_series(self, study_uid: str) -> frozenset[str]:
        """Return the series of a study that we made."""
        query = sa.select(instances.c.series_uid).where(
            instances.c.tenant == self.tenant,
            instances.c.study_uid == study_uid,
            instances.c.origin == "result",
        )
        with self.engine.connect() as connection:
            return frozenset(connection.execute(query).scalars())

    def content_digest(self, study_uid: str) -> str:
        """Return the digest of the images received: SHA-256 over instance UIDs and their digests.

        What readers save into the study (`imaging.annotations`) does not change it.
        """
        content = (i for i in self.instances_of(study_uid) if i.is_content)
        lines = sorted(f"{i.instance_uid} {i.sha256}\n" for i in content)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def set_aside(self, study_uid: str | None = None, *, limit: int = 200) -> tuple[SetAside, ...]:
        """Return what was not taken in, newest first."""
        query = (
            sa.select(*_columns(set_aside, "id"))
            .where(set_aside.c.tenant == self.tenant)
            .order_by(set_aside.c.id.desc())
            .limit(limit)
        )
        if study_uid is not None:
            query = query.where(set_aside.c.study_uid == study_uid)
        with self.engine.connect() as connection:
            return tuple(SetAside(**row) for row in connection.execute(query).mappings())

    def counts(self) -> Counts:
        """Return the sizes of the index."""
        by_state = self._count(studies, studies.c.state)
        by_origin = self._count(instances, instances.c.origin)
        size = sa.select(sa.func.coalesce(sa.func.sum(instances.c.size), 0))
        with self.engine.connect() as connection:
            total = connection.execute(size.where(instances.c.tenant == self.tenant)).scalar_one()
        return Counts(
            studies=sum(by_state.values()),
            receiving=by_state.get("receiving", 0),
            instances=sum(by_origin.values()),
            results=by_origin.get("result", 0),
            bytes=int(total),
            set_aside=sum(self._count(set_aside, set_aside.c.code).values()),
            removed=self._count(events, events.c.kind).get("removed", 0),
            files_to_remove=sum(self._count(removals, removals.c.tenant).values()),
        )

    def _count(self, table: sa.Table, column: sa.Column[str]) -> Mapping[str, int]:
        query = sa.select(column, sa.func.count()).where(table.c.tenant == self.tenant)
        with self.engine.connect() as connection:
            return {key: count for key, count in connection.execute(query.group_by(column))}  # noqa: C416 - typed

    def _studies(self, *where: sa.ColumnElement[bool]) -> tuple[StudyRow, ...]:
        query = sa.select(*_columns(studies)).where(studies.c.tenant == self.tenant, *where)
        with self.engine.connect() as connection:
            return tuple(StudyRow(**row) for row in connection.execute(query).mappings())

    def _instances(self, *where: sa.ColumnElement[bool]) -> tuple[StoredInstance, ...]:
        query = (
            sa.select(*_columns(instances))
            .where(instances.c.tenant == self.tenant, *where)
            .order_by(instances.c.series_uid, instances.c.instance_number, instances.c.instance_uid)
        )
        with self.engine.connect() as connection:
            return tuple(StoredInstance(**row) for row in connection.execute(query).mappings())

    def fitting(self, wanted: StudyFilter) -> list[sa.ColumnElement[bool]]:
        """Return the conditions on the table of studies that a filter amounts to."""
        column = studies.c
        where = [column.tenant == self.tenant]
        if wanted.patient_id:
            where.append(column.patient_id == wanted.patient_id)
        if wanted.accession_number:
            where.append(column.accession_number == wanted.accession_number)
        if wanted.state:
            where.append(column.state == wanted.state)
        if wanted.date_from:
            where.append(column.study_date >= wanted.date_from)
        if wanted.date_to:
            where.append(column.study_date <= wanted.date_to)
        if wanted.text:
            names = (column.patient_name, column.patient_id, column.accession_number)
            looked_in = (*names, column.description)
            where.append(sa.or_(*(c.icontains(wanted.text, autoescape=True) for c in looked_in)))
        if wanted.modality:
            where.append(sa.exists().where(*self._has_modality(wanted.modality)))
        return where

    def _has_modality(self, modality: str) -> tuple[sa.ColumnElement[bool], ...]:
        same_study = series.c.study_uid == studies.c.study_uid
        return same_study, series.c.tenant == self.tenant, series.c.modality == modality.upper()
