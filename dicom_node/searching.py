"""Searching the index for studies, series and instances by their attributes (PS3.4 C.6.2).

Keys are keywords of the standard; a dot leads into the items of a sequence.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import sqlalchemy as sa

from dicom_node.matching import Condition, Kind, bounds, combined, condition, is_universal
from dicom_node.schema import instances, requests, series, studies
from imaging.errors import InputError


class Level(IntEnum):
    """What is searched for."""

    STUDY = 1
    SERIES = 2
    INSTANCE = 3


@dataclass(frozen=True, slots=True)
class _Key:
    level: Level
    kind: Kind
    column: sa.ColumnElement[Any]


# Another look at a study's series and instances, whatever is searched for.
_ANY_SERIES, _ANY_INSTANCE = series.alias("any_series"), instances.alias("any_instance")

_KEYS: Mapping[str, _Key] = {
    "StudyInstanceUID": _Key(Level.STUDY, Kind.UID, studies.c.study_uid),
    "StudyDate": _Key(Level.STUDY, Kind.DATE, studies.c.study_date),
    "StudyTime": _Key(Level.STUDY, Kind.TIME, studies.c.study_time),
    "AccessionNumber": _Key(Level.STUDY, Kind.TEXT, studies.c.accession_number),
    "ReferringPhysicianName": _Key(Level.STUDY, Kind.NAME, studies.c.referring_physician),
    "StudyDescription": _Key(Level.STUDY, Kind.TEXT, studies.c.description),
    "StudyID": _Key(Level.STUDY, Kind.TEXT, studies.c.study_id),
    "PatientName": _Key(Level.STUDY, Kind.NAME, studies.c.name_key),
    "PatientID": _Key(Level.STUDY, Kind.TEXT, studies.c.patient_id),
    "PatientBirthDate": _Key(Level.STUDY, Kind.DATE, studies.c.birth_date),
    "PatientSex": _Key(Level.STUDY, Kind.CODE, studies.c.sex),
    "ModalitiesInStudy": _Key(Level.STUDY, Kind.CODE, _ANY_SERIES.c.modality),
    "SOPClassesInStudy": _Key(Level.STUDY, Kind.UID, _ANY_INSTANCE.c.sop_class_uid),
    "SeriesInstanceUID": _Key(Level.SERIES, Kind.UID, series.c.series_uid),
    "Modality": _Key(Level.SERIES, Kind.CODE, series.c.modality),
    "SeriesNumber": _Key(Level.SERIES, Kind.NUMBER, series.c.number),
    "SeriesDescription": _Key(Level.SERIES, Kind.TEXT, series.c.description),
    "SeriesDate": _Key(Level.SERIES, Kind.DATE, series.c.series_date),
    "SeriesTime": _Key(Level.SERIES, Kind.TIME, series.c.series_time),
    "BodyPartExamined": _Key(Level.SERIES, Kind.CODE, series.c.body_part),
    "PerformedProcedureStepStartDate": _Key(Level.SERIES, Kind.DATE, series.c.step_date),
    "PerformedProcedureStepStartTime": _Key(Level.SERIES, Kind.TIME, series.c.step_time),
    "RequestAttributesSequence.ScheduledProcedureStepID": _Key(
        Level.SERIES, Kind.TEXT, requests.c.step_id
    ),
    "RequestAttributesSequence.RequestedProcedureID": _Key(
        Level.SERIES, Kind.TEXT, requests.c.procedure_id
    ),
    "SOPInstanceUID": _Key(Level.INSTANCE, Kind.UID, instances.c.instance_uid),
    "SOPClassUID": _Key(Level.INSTANCE, Kind.UID, instances.c.sop_class_uid),
    "InstanceNumber": _Key(Level.INSTANCE, Kind.NUMBER, instances.c.instance_number),
}
MATCHED = tuple(_KEYS)
_WITHIN_STUDY = {"ModalitiesInStudy": _ANY_SERIES, "SOPClassesInStudy": _ANY_INSTANCE}
# Keys that are matched together where both are ranges (PS3.4 C.2.2.2.5).
_PAIRS = (
    ("StudyDate", "StudyTime"),
    ("SeriesDate", "SeriesTime"),
    ("PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime"),
)
_STUDY_COLUMNS = tuple(
    studies.c[name]
    for name in ("study_uid", "patient_id", "patient_name", "birth_date", "sex", "accession_number",
                 "study_id", "study_date", "study_time", "description", "referring_physician")
)  # fmt: skip
_SERIES_COLUMNS = tuple(
    series.c[name].label(label)
    for name, label in (("series_uid", "series_uid"), ("modality", "modality"),
                        ("number", "number"), ("description", "series_description"),
                        ("body_part", "body_part"), ("series_date", "series_date"),
                        ("series_time", "series_time"), ("step_date", "step_date"),
                        ("step_time", "step_time"))
)  # fmt: skip
_INSTANCE_COLUMNS = tuple(
    instances.c[name]
    for name in ("instance_uid", "sop_class_uid", "transfer_syntax_uid", "instance_number", "rows",
                 "columns", "bits_allocated", "frames")
)  # fmt: skip
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is looked for; `keys` must all fit. At most `limit` rows after the first `offset`."""

    level: Level
    keys: Mapping[str, str]
    fuzzy: bool = False
    limit: int = 100
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Rows that fit, in a stable order; `more`: others come after them."""

    rows: Sequence[Row]
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesSummary:
    """One series of a study that was found."""

    series_uid: str
    modality: str
    instances: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """What was ordered that led to a series."""

    step_id: str
    procedure_id: str


class Searches:
    """Searches of one tenant's index."""

    def __init__(self, engine: sa.Engine, tenant: str) -> None:
        self._engine, self._tenant = engine, tenant

    def find(self, search: Search) -> Found:
        """Return what fits.

        Raises
        ------
        InputError
            A key is not matched at this level, or its value cannot be one.
        """
        query = _selected(search.level).where(*self._conditions(search))
        query = query.order_by(*_order(search)).limit(search.limit + 1).offset(search.offset)
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return Found(
            rows=[dict(row) for row in rows[: search.limit]], more=len(rows) > search.limit
        )

    def summaries(self, study_uids: Iterable[str]) -> Mapping[str, Sequence[SeriesSummary]]:
        """Return the series of studies."""
        count = _count().scalar_subquery()
        query = sa.select(series.c.study_uid, series.c.series_uid, series.c.modality, count).where(
            series.c.tenant == self._tenant, series.c.study_uid.in_(list(study_uids))
        )
        found: dict[str, list[SeriesSummary]] = defaultdict(list)
        with self._engine.connect() as connection:
            for study, uid, modality, number in connection.execute(query):
                summary = SeriesSummary(series_uid=uid, modality=modality, instances=number)
                found[study].append(summary)
        return found

    def requests(
        self, series_uids: Iterable[str]
    ) -> Mapping[tuple[str, str], Sequence[RequestRow]]:
        """Return what series were ordered by, by study and series."""
        query = (
            sa.select(requests)
            .where(requests.c.tenant == self._tenant, requests.c.series_uid.in_(list(series_uids)))
            .order_by(requests.c.position)
        )
        found: dict[tuple[str, str], list[RequestRow]] = defaultdict(list)
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                request = RequestRow(step_id=row.step_id, procedure_id=row.procedure_id)
                found[row.study_uid, row.series_uid].append(request)
        return found

    def _conditions(self, search: Search) -> list[Condition]:
        keys = {name: value for name, value in search.keys.items() if not is_universal(value)}
        found = [_tenant_of(search.level) == self._tenant]
        for pair in _PAIRS:
            if all("-" in keys.get(name, "") for name in pair):
                columns = (_KEYS[pair[0]].column, _KEYS[pair[1]].column)
                dates = bounds(Kind.DATE, keys.pop(pair[0]))
                found.append(combined(columns, dates, bounds(Kind.TIME, keys.pop(pair[1]))))
        return found + [self._matched(name, keys[name], search) for name in keys]

    def _matched(self, name: str, value: str, search: Search) -> Condition:
        key = _KEYS.get(name)
        if key is None or key.level > search.level:
            msg = f"{name} is not matched at {search.level.name.lower()} level"
            raise InputError(msg)
        fuzzy = search.fuzzy and name == "PatientName"
        column = studies.c.name_words if fuzzy else key.column
        matched = condition(column, key.kind, value, fuzzy=fuzzy)
        if name in _WITHIN_STUDY:
            return sa.exists().where(_same(_WITHIN_STUDY[name], studies), matched)
        if name.startswith("RequestAttributesSequence."):
            same = _same(requests, series) & (requests.c.series_uid == series.c.series_uid)
            return sa.exists().where(same, matched)
        return matched


def is_matched(keyword: str, level: Level) -> bool:
    """Whether a key is matched at this level."""
    return keyword in _KEYS and _KEYS[keyword].level <= level


def _selected(level: Level) -> sa.Select[Any]:
    match level:
        case Level.STUDY:
            return sa.select(*_STUDY_COLUMNS)
        case Level.SERIES:
            count = _count().scalar_subquery().label("instances")
            selected = sa.select(*_STUDY_COLUMNS, *_SERIES_COLUMNS, count)
            return selected.select_from(series.join(studies, _same(studies, series)))
        case Level.INSTANCE:
            selected = sa.select(*_STUDY_COLUMNS, *_SERIES_COLUMNS, *_INSTANCE_COLUMNS)
            of_series = _same(series, instances) & (series.c.series_uid == instances.c.series_uid)
            return selected.select_from(
                instances.join(series, of_series).join(studies, _same(studies, instances))
            )


def _same(table: sa.FromClause, other: sa.FromClause) -> Condition:
    return (table.c.tenant == other.c.tenant) & (table.c.study_uid == other.c.study_uid)


def _count() -> sa.Select[tuple[int]]:
    """Count the instances of the series that the query around is at."""
    return (
        sa.select(sa.func.count())
        .select_from(instances)
        .where(_same(instances, series), instances.c.series_uid == series.c.series_uid)
        .correlate(series)
    )


def _tenant_of(level: Level) -> sa.ColumnElement[Any]:
    return (studies, series, instances)[level - 1].c.tenant


def _order(search: Search) -> Sequence[sa.ColumnElement[Any]]:
    match search.level:
        case Level.STUDY:
            newest = (studies.c.study_date, studies.c.study_time, studies.c.study_uid)
            return [column.desc() for column in newest]
        case Level.SERIES:
            return (series.c.study_uid, series.c.number, series.c.series_uid)
        case Level.INSTANCE:
            by = (instances.c.study_uid, instances.c.series_uid)
            return (*by, instances.c.instance_number, instances.c.instance_uid)
