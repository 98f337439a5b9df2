"""What there is to tell of a study: gathered once, before the first attempt."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from dicom_node.archive import Archive
from dicom_node.index import Index
from dicom_node.records import StudyRow
from imaging.whose import whose
from serving.assessments import AssessmentRecord, Assessments
from serving.journal import Journal
from serving.messages import Message, Messages
from serving.records import FindingRecord, Workitem
from serving.study_view import SeriesView

_WHOSE = ["SpecificCharacterSet", "PatientID", "IssuerOfPatientID"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A message, and all that it may say; `assessed` are the verdicts that hold.

    `findings` are of the analysis that it is about; `standing` of the newest that ended and found
    something. `earlier` is what the target was to be told of the study before, in order. `issuer`
    reads the Issuer of Patient ID of the images; ``None``: the images do not say whose the ID is.
    """

    message: Message
    study: StudyRow
    series: tuple[SeriesView, ...]
    workitem: Workitem | None
    findings: tuple[FindingRecord, ...]
    standing: tuple[FindingRecord, ...]
    assessed: Mapping[str, AssessmentRecord]
    earlier: tuple[bytes, ...]
    issuer: Callable[[], str | None]


class Stories:
    """Gathers stories; reads only."""

    def __init__(
        self,
        index: Index,
        archive: Archive,
        journal: Journal,
        *,
        assessments: Assessments,
        messages: Messages,
    ) -> None:
        self._index, self._archive, self._journal = index, archive, journal
        self._assessments, self._messages = assessments, messages

    def of(self, message: Message) -> Story:
        """Return the story of a message; `NotFound` when its study is not here."""
        uid = message.study_uid
        study = self._index.study(uid)
        findings = self._journal.findings(uid)
        return Story(
            message=message,
            study=study,
            series=tuple(map(SeriesView.model_validate, self._index.series_of(uid))),
            workitem=self._journal.workitem(message.workitem_uid),
            findings=_of(message.workitem_uid, findings),
            standing=self._standing(uid, findings),
            assessed=self._assessments.holding(uid),
            earlier=self._messages.told_before(message),
            issuer=partial(self._issuer, study),
        )

    def _issuer(self, study: StudyRow) -> str | None:
        stored = self._index.instances_of(study.study_uid)
        path = next((each.path for each in stored if each.is_content), None)
        if path is None:
            return None
        try:
            header = dcmread(
                self._archive.file(path), specific_tags=_WHOSE, stop_before_pixels=True
            )
        except (OSError, InvalidDicomError):
            return None
        said = whose(header)  # another ID came from a PACS since, which may be of another issuer
        return said.issuer if said.patient_id == study.patient_id else None

    def _standing(
        self, study_uid: str, findings: Sequence[FindingRecord]
    ) -> tuple[FindingRecord, ...]:
        ended = (w for w in self._journal.workitems(study_uid=study_uid) if not w.is_open)
        found = (_of(item.workitem_uid, findings) for item in ended)
        return next(filter(None, found), ())


def _of(workitem_uid: str, findings: Sequence[FindingRecord]) -> tuple[FindingRecord, ...]:
    return tuple(f for f in findings if f.workitem_uid == workitem_uid)
