"""Assessments into the study: from rows to a document, kept and delivered like any result."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pydicom import Dataset

from dicom_node.archive import Archive
from dicom_node.index import Index
from imaging.assessment import Assessment, Judgement, assessment_document
from imaging.codes import Code, Unit
from imaging.findings import Measurement, ObjectRef
from imaging.header import read_dataset
from imaging.identity import derived_uid
from imaging.notice import SCHEME
from imaging.verdict import RejectReason
from serving.assessments import AssessmentRecord, Assessments
from serving.encoding import assessment_draft
from serving.journal import Journal
from serving.messages import Messages
from serving.records import CodeRecord, FindingRecord, MeasurementRecord, Result
from serving.results import ResultStore
from serving.settings import WETREAD_VERSION
from serving.tickets import Sending

_NOTHING = Sending(results=[], destinations=[])


class AssessmentWriter:
    """Writes the document that says what readers think of a study's findings."""

    def __init__(
        self,
        *,
        index: Index,
        archive: Archive,
        journal: Journal,
        assessments: Assessments,
        results: ResultStore,
        messages: Messages,
    ) -> None:
        self._index, self._archive = index, archive
        self._journal, self._assessments, self._results = journal, assessments, results
        self._messages = messages

    def write(self, study_uid: str) -> Sending:
        """Write all that holds now into one document; return it, and to whom it goes.

        May be repeated: the same assessments give the same object, later ones another.
        """
        stated = self._stated(study_uid)
        if not stated:
            return _NOTHING
        newest = max((record for _, record, _ in stated), key=lambda record: record.id)
        document = assessment_document(
            Assessment(
                judgements=tuple(
                    replace(_judgement(f, r, of), saved=self._saved(r)) for f, r, of in stated
                ),
                result_key=derived_uid("assessment", study_uid, newest.action, str(newest.id)),
                created=datetime.fromtimestamp(newest.at, UTC),
                predecessors=tuple(_reference(r) for r in self._valid(study_uid, "ASSESSMENT")),
            ),
            self._source(study_uid),
            wetread_version=WETREAD_VERSION,
        )
        draft = assessment_draft(document)
        result = self._results.keep(draft, workitem_uid=newest.workitem_uid, model="")
        if result.state != "valid":
            return _NOTHING
        self._journal.supersede(study_uid, "", by=[result])
        self._messages.plan_assessed(study_uid, newest.workitem_uid, newest.id)
        destinations = self._destinations([of for _, _, of in stated])
        for destination in destinations:
            self._journal.plan_delivery(result, destination)
        return Sending(results=[result.instance_uid], destinations=destinations)

    def _stated(
        self, study_uid: str
    ) -> Sequence[tuple[FindingRecord, AssessmentRecord, Result]]:  # what, thought, where stated
        """Return the newest analysis' findings that were assessed and the SR that states each."""
        current = self._assessments.current(study_uid)
        reports = {r.model: r for r in self._valid(study_uid, "SR")}
        return [
            (finding, current[finding.tracking_uid], reports[finding.model])
            for finding in self._journal.current_findings(study_uid)
            if finding.tracking_uid in current and finding.model in reports
        ]

    def _valid(self, study_uid: str, kind: str) -> Sequence[Result]:
        return [
            result
            for result in self._journal.results(study_uid=study_uid)
            if result.kind == kind and result.state == "valid" and not result.superseded_by
        ]

    def _saved(self, record: AssessmentRecord) -> ObjectRef | None:
        """Return the object that a correction comes from."""
        stored = self._index.instance(record.object_uid) if record.object_uid else None
        if stored is None:
            return None
        return ObjectRef(
            sop_class_uid=stored.sop_class_uid,
            instance_uid=stored.instance_uid,
            series_uid=stored.series_uid,
            study_uid=stored.study_uid,
        )

    def _source(self, study_uid: str) -> Dataset:
        images = (i for i in self._index.instances_of(study_uid) if i.is_content)
        return read_dataset(self._archive.file(next(images).path))

    def _destinations(self, assessed: Sequence[Result]) -> list[str]:
        """Return who was sent what is assessed."""
        uids = {result.instance_uid for result in assessed}
        items = self._journal.deliveries(study_uid=assessed[0].study_uid)
        return sorted({item.destination for item in items if item.instance_uid in uids})


def _judgement(finding: FindingRecord, record: AssessmentRecord, stated_in: Result) -> Judgement:
    return Judgement(
        assessed=_reference(stated_in),
        tracking_id=finding.tracking_id or finding.concept,
        tracking_uid=finding.tracking_uid,
        concept=_code(finding.code, finding.concept),
        verdict=record.verdict,
        reader=record.reader,
        at=datetime.fromtimestamp(record.at, UTC),
        reason=RejectReason[record.reason] if record.reason else None,
        comment=record.comment,
        instead=_code(record.instead, "") if record.instead else None,
        measured=tuple(_measurement(m) for m in record.measured),
    )


def _reference(result: Result) -> ObjectRef:
    return ObjectRef(
        sop_class_uid=result.sop_class_uid,
        instance_uid=result.instance_uid,
        series_uid=result.series_uid,
        study_uid=result.study_uid,
    )


def _measurement(measured: MeasurementRecord) -> Measurement:
    return Measurement(
        name=_code(measured.code, measured.name),
        value=measured.value,
        unit=Unit(measured.unit, measured.unit),
    )


def _code(code: CodeRecord | None, meaning: str) -> Code:
    """Return a stored code; findings of older versions have only its meaning."""
    if code is None:
        return Code("UNCODED", SCHEME, meaning)
    return Code(code.value, code.scheme, code.meaning)
