"""The query SCP: Study Root C-FIND over the index (PS3.4 C.4.1)."""

import logging
from collections.abc import Iterator, Mapping

from pydicom import DataElement, Dataset
from pynetdicom import evt
from pynetdicom.events import Event, EventHandlerType
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.audit.peers import PeerAudit
from dicom_node.searching import Level, Row, Search, Searches, is_matched
from imaging.errors import InputError
from imaging.identity import AETitle

_log = logging.getLogger(__name__)
LEVELS = {"STUDY": Level.STUDY, "SERIES": Level.SERIES, "IMAGE": Level.INSTANCE}
UNIQUE = {
    Level.STUDY: "StudyInstanceUID",
    Level.SERIES: "SeriesInstanceUID",
    Level.INSTANCE: "SOPInstanceUID",
}
PENDING, CANCELED, UNABLE = 0xFF00, 0xFE00, 0xC000
DOES_NOT_MATCH = 0xA900
_PAGE = 200
_UNICODE = "ISO_IR 192"
_COLUMNS: Mapping[str, str] = {
    "StudyInstanceUID": "study_uid",
    "StudyDate": "study_date",
    "StudyTime": "study_time",
    "AccessionNumber": "accession_number",
    "ReferringPhysicianName": "referring_physician",
    "StudyDescription": "description",
    "StudyID": "study_id",
    "PatientName": "patient_name",
    "PatientID": "patient_id",
    "PatientBirthDate": "birth_date",
    "PatientSex": "sex",
    "SeriesInstanceUID": "series_uid",
    "Modality": "modality",
    "SeriesNumber": "number",
    "SeriesDescription": "series_description",
    "SeriesDate": "series_date",
    "SeriesTime": "series_time",
    "BodyPartExamined": "body_part",
    "PerformedProcedureStepStartDate": "step_date",
    "PerformedProcedureStepStartTime": "step_time",
    "NumberOfSeriesRelatedInstances": "instances",
    "SOPInstanceUID": "instance_uid",
    "SOPClassUID": "sop_class_uid",
    "InstanceNumber": "instance_number",
    "Rows": "rows",
    "Columns": "columns",
    "BitsAllocated": "bits_allocated",
    "NumberOfFrames": "frames",
}


class QueryProvider:
    """Answers C-FIND; who may ask is decided before, by the presentation contexts accepted."""

    def __init__(self, searches: Searches, *, ae_title: AETitle, audit: PeerAudit) -> None:
        self._searches, self._title, self._audit = searches, ae_title, audit

    def handlers(self) -> list[EventHandlerType]:
        """Return the handlers for the listener."""
        return [(evt.EVT_C_FIND, self._find)]

    def _find(self, event: Event) -> Iterator[tuple[int, Dataset | None]]:
        self._audit.asked(event)
        try:
            wanted = event.identifier
            level = level_of(wanted)
            keys = keys_of(wanted, level)
            for row in rows(self._searches, level, keys):
                if event.is_cancelled:
                    yield CANCELED, None
                    return
                yield PENDING, self._answer(wanted, row)
        except InputError:
            yield DOES_NOT_MATCH, None
        except SQLAlchemyError:
            _log.exception("query fails")
            yield UNABLE, None

    def _answer(self, wanted: Dataset, row: Row) -> Dataset:
        ds = Dataset()
        ds.QueryRetrieveLevel, ds.RetrieveAETitle = wanted.QueryRetrieveLevel, self._title
        known = {name: row[column] for name, column in _COLUMNS.items() if column in row}
        if any(name not in known for name in _SUMMARY.intersection(_names(wanted))):
            known |= self._summary(row["study_uid"])
        for name in _names(wanted) & known.keys():
            setattr(ds, name, known[name])
        if not "".join(str(value) for value in known.values()).isascii():
            ds.SpecificCharacterSet = _UNICODE
        return ds

    def _summary(self, study_uid: str) -> Mapping[str, object]:
        series = self._searches.summaries([study_uid]).get(study_uid, ())
        return {
            "ModalitiesInStudy": sorted({each.modality for each in series if each.modality}),
            "NumberOfStudyRelatedSeries": len(series),
            "NumberOfStudyRelatedInstances": sum(each.instances for each in series),
        }


_SUMMARY = frozenset(
    ("ModalitiesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances")
)


def level_of(identifier: Dataset) -> Level:
    """Return the level of a query or retrieval; `InputError` when it is none of Study Root."""
    level = LEVELS.get(str(identifier.get("QueryRetrieveLevel", "")))
    if level is None:
        msg = "there is no such level in Study Root"
        raise InputError(msg)
    return level


def keys_of(identifier: Dataset, level: Level) -> dict[str, str]:
    """Return what must match; `InputError` unless one study, and one series, are named above."""
    keys = {
        element.keyword: _text(element)
        for element in identifier
        if element.VR != "SQ" and is_matched(element.keyword, level)
    }
    for above in (each for each in Level if each < level):
        if not keys.get(UNIQUE[above], "").strip("*"):
            msg = f"{UNIQUE[above]} is missing"
            raise InputError(msg)
    return keys


def rows(searches: Searches, level: Level, keys: Mapping[str, str]) -> Iterator[Row]:
    """Yield all that fits, page by page; `InputError` for a value that cannot be one."""
    offset = 0
    while True:
        found = searches.find(Search(level=level, keys=keys, limit=_PAGE, offset=offset))
        yield from found.rows
        offset += _PAGE
        if not found.more:
            return


def _text(element: DataElement) -> str:
    several = element.value if element.VM > 1 else [element.value or ""]
    return "\\".join(str(each) for each in several)


def _names(identifier: Dataset) -> set[str]:
    return {element.keyword for element in identifier}
