"""What there is to tell of a study: gathered once, before the first attempt."""

from collections.abc import Mapping
from dataclasses import dataclass

from dicom_node.index import Index
from dicom_node.records import StudyRow
from serving.assessments import AssessmentRecord, Assessments
from serving.journal import Journal
from serving.messages import Message
from serving.records import FindingRecord, Workitem


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A message, and all that it may say; `assessed` are the verdicts that hold."""

    message: Message
    study: StudyRow
    workitem: Workitem | None
    findings: tuple[FindingRecord, ...]
    assessed: Mapping[str, AssessmentRecord]


class Stories:
    """Gathers stories; reads only."""

    def __init__(self, index: Index, journal: Journal, assessments: Assessments) -> None:
        self._index, self._journal, self._assessments = index, journal, assessments

    def of(self, message: Message) -> Story:
        """Return the story of a message; `NotFound` when its study is not here."""
        uid = message.study_uid
        findings = self._journal.findings(uid)
        return Story(
            message=message,
            study=self._index.study(uid),
            workitem=self._journal.workitem(message.workitem_uid),
            findings=tuple(f for f in findings if f.workitem_uid == message.workitem_uid),
            assessed=self._assessments.holding(uid),
        )
