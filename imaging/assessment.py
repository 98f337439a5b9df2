"""A reader's judgement of results, as a document in the study (Enhanced SR, PS3.3 A.35.2).

One container for each finding: the assessed object, the finding's tracking UID, the verdict, and
what the reader said instead.
"""

from dataclasses import dataclass
from datetime import datetime

from highdicom.sr import (
    CodeContentItem,
    CompositeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    DateTimeContentItem,
    EnhancedSR,
    LanguageOfContentItemAndDescendants,
    NumContentItem,
    PnameContentItem,
    RelationshipTypeValues,
    TextContentItem,
    UIDRefContentItem,
)
from pydicom import Dataset
from pydicom.valuerep import DT

from imaging.codes import Code
from imaging.findings import Measurement, ObjectRef
from imaging.notice import ENGLISH, SCHEME, scheme_item
from imaging.objects import MANUFACTURER, Kind, Stamp, coded, finished, in_zone_of, stand_in, words
from imaging.verdict import RejectReason, Verdict

TITLE = Code("AI_ASSESSMENT", SCHEME, "Assessment of AI results")
_OF_FINDING = Code("FINDING_ASSESSMENT", SCHEME, "Assessment of a finding")
_ASSESSED = Code("ASSESSED_OBJECT", SCHEME, "Assessed object")
_VERDICT = Code("ASSESSMENT", SCHEME, "Assessment")
_CORRECTED = Code("CORRECTED_OBJECT", SCHEME, "Object as the reader saved it")
_REASON = Code("REASON", SCHEME, "Reason")
_INSTEAD = Code("CORRECTED_FINDING", SCHEME, "Corrected finding")
_COMMENT = Code("121106", "DCM", "Comment")
_FINDING = Code("121071", "DCM", "Finding")
_TRACKING_ID = Code("112039", "DCM", "Tracking Identifier")
_TRACKING_UID = Code("112040", "DCM", "Tracking Unique Identifier")
_OBSERVER_TYPE = Code("121005", "DCM", "Observer Type")
_PERSON = Code("121006", "DCM", "Person")
_PERSON_NAME = Code("121008", "DCM", "Person Observer Name")
_TIME = Code("ASSESSED_AT", SCHEME, "Time of assessment")

_CONTAINS = RelationshipTypeValues.CONTAINS
_CONTEXT = RelationshipTypeValues.HAS_OBS_CONTEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One finding and what a reader thinks of it; `assessed` is the object that states it.

    `saved` is the reader's own object that a correction comes from.
    """

    assessed: ObjectRef
    tracking_id: str
    tracking_uid: str
    concept: Code
    verdict: Verdict
    reader: str
    at: datetime
    reason: RejectReason | None = None
    comment: str = ""
    instead: Code | None = None
    measured: tuple[Measurement, ...] = ()
    saved: ObjectRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """All judgements that hold for a study; `predecessors` are documents that this one replaces."""

    judgements: tuple[Judgement, ...]
    result_key: str
    created: datetime
    predecessors: tuple[ObjectRef, ...] = ()


def assessment_document(
    assessment: Assessment, source: Dataset, *, wetread_version: str
) -> Dataset:
    """Return the document in the study of `source`; the assessed objects are its evidence."""
    stamp = Stamp(
        kind=Kind.ASSESSMENT,
        result_key=assessment.result_key,
        created=assessment.created,
        algorithm=None,
        wetread_version=wetread_version,
    )
    named = (ref for each in assessment.judgements for ref in (each.assessed, each.saved))
    made = EnhancedSR(
        evidence=[stand_in(ref) for ref in dict.fromkeys(named) if ref],
        content=_content(assessment, source),
        series_instance_uid=stamp.series_uid,
        series_number=stamp.kind.value,
        sop_instance_uid=stamp.instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        previous_versions=[stand_in(ref) for ref in assessment.predecessors] or None,
    )
    made.CodingSchemeIdentificationSequence = [scheme_item()]
    free = "".join(f"{j.comment}{j.reader}" for j in assessment.judgements)
    return finished(
        made,
        source,
        stamp,
        description="Wetread assessment",
        in_any_script=not free.isascii(),
    )


def _content(assessment: Assessment, source: Dataset) -> Dataset:
    root = ContainerContentItem(coded(TITLE), is_content_continuous=False)
    content = ContentSequence()
    content.extend(LanguageOfContentItemAndDescendants(coded(ENGLISH)))
    content.extend(_reader(assessment.judgements[-1].reader))
    content.extend(_judged(judgement, source) for judgement in assessment.judgements)
    root.ContentSequence = content
    return root


def _reader(name: str) -> list[ContentItem]:
    return [
        CodeContentItem(coded(_OBSERVER_TYPE), coded(_PERSON), relationship_type=_CONTEXT),
        PnameContentItem(coded(_PERSON_NAME), _person(name), relationship_type=_CONTEXT),
    ]


def _person(name: str) -> str:
    """Return a name in components, as PS3.5 6.2 wants it: one word is a family name."""
    return name if "^" in name else f"{name}^"


def _judged(judgement: Judgement, source: Dataset) -> ContainerContentItem:
    at = in_zone_of(source, judgement.at)
    container = ContainerContentItem(
        coded(_OF_FINDING), is_content_continuous=False, relationship_type=_CONTAINS
    )
    items: list[ContentItem] = [
        *_reader(judgement.reader),
        TextContentItem(
            coded(_TRACKING_ID), words(judgement.tracking_id), relationship_type=_CONTEXT
        ),
        UIDRefContentItem(coded(_TRACKING_UID), judgement.tracking_uid, relationship_type=_CONTEXT),
        _object(_ASSESSED, judgement.assessed),
        _code(_FINDING, judgement.concept),
        _code(_VERDICT, Code(judgement.verdict.name, SCHEME, judgement.verdict.value)),
        DateTimeContentItem(coded(_TIME), DT(f"{at:%Y%m%d%H%M%S}"), relationship_type=_CONTAINS),
    ]
    if judgement.saved:
        items.append(_object(_CORRECTED, judgement.saved))
    if judgement.reason:
        items.append(_code(_REASON, Code(judgement.reason.name, SCHEME, judgement.reason.value)))
    if judgement.instead:
        items.append(_code(_INSTEAD, judgement.instead))
    items.extend(
        NumContentItem(
            coded(m.name), float(f"{m.value:.6g}"), coded(m.unit.code), relationship_type=_CONTAINS
        )
        for m in judgement.measured
    )
    if judgement.comment:
        items.append(
            TextContentItem(coded(_COMMENT), judgement.comment, relationship_type=_CONTAINS)
        )
    container.ContentSequence = ContentSequence(items)
    return container


def _object(name: Code, ref: ObjectRef) -> CompositeContentItem:
    return CompositeContentItem(
        coded(name), ref.sop_class_uid, ref.instance_uid, relationship_type=_CONTAINS
    )


def _code(name: Code, value: Code) -> CodeContentItem:
    return CodeContentItem(coded(name), coded(value), relationship_type=_CONTAINS)
