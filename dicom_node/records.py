"""What the index gives: frozen records of studies, series, instances and things set aside."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

from imaging.annotations import is_annotation

Origin = Literal["received", "result"]
StudyState = Literal["receiving", "complete"]
Completeness = Literal["confirmed", "quiet", "limit"]
_HALF_DAY_S = 43200.0


def half_day(moment: float) -> int:
    """Return which half day since 1970 a moment (Unix seconds) is in."""
    return int(moment // _HALF_DAY_S)


class Added(Enum):
    """What became of an instance offered to the index."""

    NEW = auto()
    """It is in the index now."""
    DUPLICATE = auto()
    """The same bytes were there already; nothing changed."""
    CONFLICT = auto()
    """Other bytes are there under this UID; nothing changed."""
    OTHER_PATIENT = auto()
    """The study belongs to another patient ID; nothing changed."""
    GONE = auto()
    """Its file was removed meanwhile, with a study that was here before; nothing changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredInstance:
    """An instance in the archive at `path`; `size` and `sha256` are of the data set."""

    study_uid: str
    series_uid: str
    instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    path: str
    size: int
    sha256: str
    origin: Origin
    received_at: float
    calling_ae: str
    address: str
    instance_number: int | None

    @property
    def is_content(self) -> bool:
        """Whether it is of what is analysed: received, and not what somebody said of images."""
        return self.origin == "received" and not is_annotation(self.sop_class_uid)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRow:
    """A study as first received. `received` counts its received instances and never goes down."""

    study_uid: str
    patient_id: str
    patient_name: str
    birth_date: str
    sex: str
    accession_number: str
    study_id: str
    study_date: str
    study_time: str
    description: str
    sender: str
    sender_address: str
    first_received_at: float
    last_received_at: float
    received: int
    state: StudyState
    completeness: Completeness | None
    completeness_text: str
    content_digest: str | None
    completed_at: float | None
    priority: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRow:
    """A series of a study; `instances` counts all of it, `results` those that we made."""

    study_uid: str
    series_uid: str
    modality: str
    number: int | None
    description: str
    body_part: str
    instances: int
    results: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """Something that arrived and was not taken in: a stable code, a sentence, a file if kept."""

    received_at: float
    instance_uid: str
    study_uid: str
    code: str
    text: str
    path: str | None
    calling_ae: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFilter:
    """Which studies to list; empty fields do not restrict.

    `text` is looked for in name, patient ID, accession number and description. Dates are
    ``YYYYMMDD``, both ends included.
    """

    patient_id: str = ""
    accession_number: str = ""
    modality: str = ""
    state: StudyState | None = None
    text: str = ""
    date_from: str = ""
    date_to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPage:
    """Part of a list of studies, newest first; `total` counts the whole list."""

    studies: tuple[StudyRow, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Sizes of the index, for metrics."""

    studies: int
    receiving: int
    instances: int
    results: int
    bytes: int
    set_aside: int
    removed: int
    files_to_remove: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """How and when a study was found complete, for the `received` count it was judged on."""

    study_uid: str
    received: int
    completeness: Completeness
    text: str
    content_digest: str
    at: float
