"""Whose an image is: patient, study and series, as its header says."""

from dataclasses import dataclass

from pydicom import Dataset

from imaging.attributes import integer, items, text
from imaging.identity import SeriesUID, StudyUID, checked_uid
from imaging.priority import priority_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """Patient module (PS3.3 C.7.1.1), as text."""

    patient_id: str
    name: str
    birth_date: str
    sex: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """General Study module (PS3.3 C.7.2.1); `priority` as in `imaging.priority`."""

    study_uid: StudyUID
    date: str
    time: str
    study_id: str
    accession_number: str
    description: str
    referring_physician: str = ""
    priority: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An item of Request Attributes Sequence: what was ordered that led to the series."""

    step_id: str
    procedure_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """General Series and Equipment modules (PS3.3 C.7.3.1, C.7.5.1).

    `step_date` and `step_time`: when the performed procedure step began.
    """

    series_uid: SeriesUID
    modality: str
    number: int | None
    description: str
    protocol: str
    body_part: str
    manufacturer: str
    model_name: str
    patient_position: str
    date: str = ""
    time: str = ""
    step_date: str = ""
    step_time: str = ""
    requests: tuple[Request, ...] = ()


def patient_of(ds: Dataset) -> Patient:
    """Return the patient of a data set."""
    return Patient(
        patient_id=text(ds, "PatientID"),
        name=text(ds, "PatientName"),
        birth_date=text(ds, "PatientBirthDate"),
        sex=text(ds, "PatientSex"),
    )


def study_of(ds: Dataset) -> Study:
    """Return the study of a data set; `MalformedInstance` when its UID is none."""
    return Study(
        study_uid=StudyUID(checked_uid(text(ds, "StudyInstanceUID"), "Study Instance UID")),
        date=text(ds, "StudyDate"),
        time=text(ds, "StudyTime"),
        study_id=text(ds, "StudyID"),
        accession_number=text(ds, "AccessionNumber"),
        description=text(ds, "StudyDescription"),
        referring_physician=text(ds, "ReferringPhysicianName"),
        priority=priority_of(ds),
    )


def series_of(ds: Dataset) -> Series:
    """Return the series of a data set; `MalformedInstance` when its UID is none."""
    return Series(
        series_uid=SeriesUID(checked_uid(text(ds, "SeriesInstanceUID"), "Series Instance UID")),
        modality=text(ds, "Modality").upper(),
        number=integer(ds, "SeriesNumber"),
        description=text(ds, "SeriesDescription"),
        protocol=text(ds, "ProtocolName"),
        body_part=text(ds, "BodyPartExamined").upper(),
        manufacturer=text(ds, "Manufacturer"),
        model_name=text(ds, "ManufacturerModelName"),
        patient_position=text(ds, "PatientPosition").upper(),
        date=text(ds, "SeriesDate"),
        time=text(ds, "SeriesTime"),
        step_date=text(ds, "PerformedProcedureStepStartDate"),
        step_time=text(ds, "PerformedProcedureStepStartTime"),
        requests=tuple(_request(item) for item in items(ds, "RequestAttributesSequence")),
    )


def _request(item: Dataset) -> Request:
    return Request(
        step_id=text(item, "ScheduledProcedureStepID"),
        procedure_id=text(item, "RequestedProcedureID"),
    )
