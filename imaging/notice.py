"""The notice "AI analysis not performed": what a reader sees instead of a result, and why."""

from dataclasses import dataclass
from datetime import datetime

from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    EnhancedSR,
    LanguageOfContentItemAndDescendants,
    RelationshipTypeValues,
    TextContentItem,
    UIDRefContentItem,
)
from pydicom import Dataset

from imaging.codes import Code
from imaging.findings import Algorithm, ObjectRef
from imaging.objects import (
    MANUFACTURER,
    RESEARCH_ONLY,
    Kind,
    Stamp,
    coded,
    finished,
    line,
    stand_in,
    words,
)
from imaging.reasons import Reason

SCHEME = "99WETREAD"
# A title of our own: viewers take "Imaging Measurement Report" for something to draw.
TITLE = Code("AI_NOT_PERFORMED", SCHEME, "AI analysis not performed")
_REASON = Code("REASON", SCHEME, "Reason")
_EXPLANATION = Code("EXPLANATION", SCHEME, "Explanation")
_ENGLISH = Code("en-US", "RFC5646", "English (United States)")
_OBSERVER_TYPE = Code("121005", "DCM", "Observer Type")
_DEVICE = Code("121007", "DCM", "Device")
_DEVICE_UID = Code("121012", "DCM", "Device Observer UID")
_DEVICE_NAME = Code("121013", "DCM", "Device Observer Name")

_CONTAINS = RelationshipTypeValues.CONTAINS
_CONTEXT = RelationshipTypeValues.HAS_OBS_CONTEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Images that were not analysed.

    `algorithm` is ``None`` when no model was chosen. `result_key` and `created` are as in
    `imaging.findings.Report`.
    """

    reasons: tuple[Reason, ...]
    instances: tuple[ObjectRef, ...]
    algorithm: Algorithm | None
    result_key: str
    created: datetime


def not_performed(notice: Notice, source: Dataset, *, wetread_version: str) -> Dataset:
    """Return the notice as an Enhanced SR document in the study of `source` (PS3.3 A.35.2).

    The instances it speaks about are its evidence.
    """
    stamp = Stamp(
        kind=Kind.NOTICE,
        result_key=notice.result_key,
        created=notice.created,
        algorithm=notice.algorithm,
        wetread_version=wetread_version,
    )
    made = EnhancedSR(
        evidence=[stand_in(ref) for ref in notice.instances],
        content=_content(notice, stamp),
        series_instance_uid=stamp.series_uid,
        series_number=stamp.kind.value,
        sop_instance_uid=stamp.instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
    )
    made.CodingSchemeIdentificationSequence = [_scheme()]
    return finished(made, source, stamp, description="Wetread AI analysis not performed")


def _content(notice: Notice, stamp: Stamp) -> Dataset:
    root = ContainerContentItem(coded(TITLE), is_content_continuous=False)
    content = ContentSequence()
    content.extend(LanguageOfContentItemAndDescendants(coded(_ENGLISH)))
    content.extend(_observer(notice, stamp))
    content.append(_text(_EXPLANATION, _summary(notice)))
    for reason in notice.reasons:
        code = Code(reason.code, SCHEME, reason.text)
        content.append(CodeContentItem(coded(_REASON), coded(code), relationship_type=_CONTAINS))
        content.append(_text(_EXPLANATION, f"{reason.text}."))
    content.append(_text(_EXPLANATION, f"{RESEARCH_ONLY}."))
    root.ContentSequence = content
    return root


def _summary(notice: Notice) -> str:
    what = notice.algorithm.title if notice.algorithm else "AI"
    return f"{what} analysis was not performed on {len(notice.instances)} image(s)."


def _observer(notice: Notice, stamp: Stamp) -> list[ContentItem]:
    device = notice.algorithm
    uid = device.device_uid if device else stamp.uid("device")
    name = f"{device.title} {device.version}" if device else MANUFACTURER
    return [
        CodeContentItem(coded(_OBSERVER_TYPE), coded(_DEVICE), relationship_type=_CONTEXT),
        UIDRefContentItem(coded(_DEVICE_UID), uid, relationship_type=_CONTEXT),
        TextContentItem(coded(_DEVICE_NAME), line(name), relationship_type=_CONTEXT),
    ]


def _text(name: Code, sentence: str) -> TextContentItem:
    return TextContentItem(coded(name), words(sentence), relationship_type=_CONTAINS)


def _scheme() -> Dataset:
    item = Dataset()
    item.CodingSchemeDesignator = SCHEME
    item.CodingSchemeName = "Wetread private codes"
    item.CodingSchemeResponsibleOrganization = MANUFACTURER
    return item
