"""What is remembered of the work, as rows are read and as REST answers: one frozen model each.

Times are Unix seconds, UTC.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from imaging.codes import Code
from imaging.findings import Algorithm, Finding, Urgency
from imaging.reasons import Reason
from imaging.sentences import Value

WorkitemState = Literal["SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED"]
OPEN: tuple[WorkitemState, ...] = ("SCHEDULED", "IN PROGRESS")
ResultKind = Literal["SEG", "SR", "KEY_IMAGE", "NOTICE", "ASSESSMENT", "TEXT", "REJECTION"]
ANSWERS: tuple[ResultKind, ...] = ("SEG", "SR", "KEY_IMAGE")  # what a model that read makes
APART: tuple[ResultKind, ...] = ("ASSESSMENT", "REJECTION")  # no later analysis replaces these
Standing = Literal["current", "outdated", "superseded", "held"]
DeliveryState = Literal["waiting", "delivered", "proven", "refused", "failed", "held", "superseded"]
StudyState = Literal["receiving", "waiting", "analysing", "delivering", "done", "failed"]

UID = Field(examples=["2.25.190839563870286389502176592117216823131"])
WORKITEM = Field(examples=["2.25.1908395638-0f3a5c7e9b1d"])
TIME = Field(examples=[1764000000.0])
_EVIDENCE_KEPT = 24


class Record(BaseModel):
    """Base of all records."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class ReasonRecord(Record):
    """A stable code, one sentence in English and in Chinese, and the numbers in it."""

    code: str = Field(examples=["MODALITY"])
    text: str = Field(examples=["modality is CT, not MR"])
    text_zh: str = Field("", examples=["检查设备类型为CT，需要MR"])
    numbers: dict[str, Value] = Field(default={}, examples=[{"found": "CT", "needed": ["MR"]}])


class Workitem(Record):
    """The analysis of one content of one study (states of PS3.4 CC: a failed one is CANCELED)."""

    workitem_uid: str = WORKITEM
    study_uid: str = UID
    content_digest: str = Field(examples=["0f3a5c7e9b1d"])
    state: WorkitemState = Field(examples=["COMPLETED"])
    stage: str = Field(examples=["delivering"])
    reason_code: str = Field("", examples=["NO_MODEL"])
    reason_text: str = Field("", examples=["no installed model reads CT HEAD"])
    reason_text_zh: str = Field("", examples=["已安装的模型均不能读取CT HEAD"])
    priority: int = Field(examples=[5])
    sender: str = Field("", description="AE title that sent the study", examples=["CT1"])
    turn: int = Field(0, description="which turn of its sender among equally urgent studies")
    created_at: float = TIME
    started_at: float | None = TIME
    ended_at: float | None = TIME
    timings: dict[str, float] = Field(examples=[{"read": 0.2, "model": 1.1, "encode": 0.3}])

    @property
    def is_open(self) -> bool:
        """Whether it waits or is in work."""
        return self.state in OPEN


class DecisionRecord(Record):
    """Why a model reads a part of a series, or why it does not."""

    workitem_uid: str = WORKITEM
    series_uid: str = UID
    stack: str = Field(examples=["0"])
    model: str = Field(examples=["brain-extraction"])
    chosen: bool
    reasons: tuple[ReasonRecord, ...]


class CodeRecord(Record):
    """A coded concept: value, scheme designator, meaning."""

    value: str = Field(examples=["12738006"])
    scheme: str = Field(examples=["SCT"])
    meaning: str = Field(examples=["Brain"])


class MeasurementRecord(Record):
    """A number with its unit (UCUM)."""

    name: str = Field(examples=["Volume"])
    code: CodeRecord | None = None
    value: float = Field(examples=[1739.4])
    unit: str = Field(examples=["ml"])


class ClassRecord(Record):
    """One class of a classification and its probability."""

    name: str = Field(examples=["No tumour"])
    code: CodeRecord | None = None
    probability: float = Field(examples=[0.98])


class FindingRecord(Record):
    """One finding, research use only and unverified until a reader assesses it."""

    workitem_uid: str = WORKITEM
    series_uid: str = UID
    model: str = Field(examples=["brain-extraction"])
    model_version: str = Field("", examples=["0.1"])
    model_digest: str = Field("", description="of the package that found it")
    tracking_uid: str = UID
    tracking_id: str = Field("", examples=["brain-extraction/Brain"])
    concept: str = Field(examples=["Brain"])
    code: CodeRecord | None = None
    site: CodeRecord | None = None
    urgency: Urgency = Field(Urgency.ROUTINE, description="how soon a reader should see it")
    statement: str = Field(examples=["Brain volume 1739 ml. Research use only, unverified."])
    probability: float | None = Field(None, examples=[0.98])
    probabilities: tuple[ClassRecord, ...] = ()
    measurements: tuple[MeasurementRecord, ...] = ()
    key_instance: str | None = UID
    evidence: tuple[str, ...] = Field(
        (), description="the first instances that decided, at most 24"
    )
    segment_number: int | None = Field(None, examples=[1])
    abstained: ReasonRecord | None = None


class Result(Record):
    """A DICOM object we wrote. A held one broke a check and is not delivered."""

    instance_uid: str = UID
    workitem_uid: str = WORKITEM
    study_uid: str = UID
    series_uid: str = UID
    model: str = Field(examples=["brain-extraction"])
    kind: ResultKind = Field(examples=["SEG"])
    sop_class_uid: str = Field(examples=["1.2.840.10008.5.1.4.1.1.66.4"])
    state: Literal["valid", "held"]
    problems: tuple[str, ...] = ()
    created_at: float = TIME
    superseded_by: str | None = Field(None, examples=["2.25.2190639587028638950217659211721682"])


class StandingResult(Result):
    """A result, and whether it still stands: outdated ones were made before newer images came."""

    standing: Standing


class Delivery(Record):
    """One result on its way to one destination, with proof once the destination has it."""

    delivery_id: str = Field(examples=["2.25.190839563870286389502176592117216823131/pacs"])
    instance_uid: str = UID
    workitem_uid: str = WORKITEM
    study_uid: str = UID
    destination: str = Field(examples=["pacs"])
    state: DeliveryState = Field(examples=["proven"])
    planned_at: float = TIME
    attempts: int = Field(examples=[1])
    last_error: str = ""
    next_attempt_at: float | None = Field(None, examples=[1764000000.0])
    delivered_at: float | None = TIME
    proven_at: float | None = TIME
    proof: str = Field("", examples=["storage commitment"])
    transaction_uid: str | None = Field(
        None,
        description="of the storage commitment asked for",
        examples=["2.25.264381529430318460293218264531190436571"],
    )
    root_uid: str | None = Field(
        None,
        description="the result that this one was made from",
        examples=["2.25.190839563870286389502176592117216823131"],
    )
    identity: str = Field(
        "",
        description="how patient and order were checked before it was sent",
        examples=["as the PACS has it"],
    )
    withdrawn_by: str | None = Field(
        None,
        description="the rejection note that withdraws it there",
        examples=["2.25.264381529430318460293218264531190436571"],
    )
    released_at: float | None = Field(
        None, description="when a person let go what was held", examples=[1764000000.0]
    )


class Event(Record):
    """Something that happened, in order of `id`; never with patient data."""

    id: int
    at: float = TIME
    kind: str = Field(examples=["delivered"])
    study_uid: str = UID
    workitem_uid: str = ""
    text: str = Field(examples=["SR delivered to pacs and found there"])


def reason_record(reason: Reason) -> ReasonRecord:
    """Return a reason as it is stored."""
    return ReasonRecord(
        code=reason.code,
        text=reason.text,
        text_zh=reason.text_zh,
        numbers=dict(reason.numbers),
    )


def code_record(code: Code | None) -> CodeRecord | None:
    """Return a code as it is stored."""
    if code is None:
        return None
    return CodeRecord(value=code.value, scheme=code.scheme, meaning=code.meaning)


def finding_record(
    finding: Finding, *, workitem_uid: str, series_uid: str, algorithm: Algorithm
) -> FindingRecord:
    """Return a finding as it is stored."""
    return FindingRecord(
        workitem_uid=workitem_uid,
        series_uid=series_uid,
        model=algorithm.name,
        model_version=algorithm.version,
        model_digest=algorithm.digest,
        tracking_uid=finding.tracking_uid,
        tracking_id=finding.tracking_id,
        concept=finding.concept.meaning,
        code=code_record(finding.concept),
        site=code_record(finding.site),
        urgency=finding.urgency,
        statement=finding.statement,
        probability=finding.probability,
        probabilities=tuple(
            ClassRecord(
                name=p.concept.meaning, code=code_record(p.concept), probability=p.probability
            )
            for p in finding.probabilities
        ),
        measurements=tuple(
            MeasurementRecord(
                name=m.name.meaning, code=code_record(m.name), value=m.value, unit=m.unit.value
            )
            for m in finding.measurements
        ),
        key_instance=finding.key_instance,
        evidence=finding.evidence[:_EVIDENCE_KEPT],
        segment_number=finding.segment_number,
        abstained=reason_record(finding.abstained) if finding.abstained else None,
    )
