"""The notice "AI analysis not performed": what a reader sees instead of a result, and why.

Every reason is a code and a sentence, in English and, if the settings say so, in Chinese.
"""

from collections.abc import Iterator
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
    Kind,
    Stamp,
    coded,
    finished,
    line,
    stand_in,
    words,
)
from imaging.reasons import Reason, reason
from imaging.sentences import Languages

SCHEME = "99WETREAD"
# A title of our own: viewers take "Imaging Measurement Report" for something to draw.
TITLE = Code("AI_NOT_PERFORMED", SCHEME, "AI analysis not performed")
_REASON = Code("REASON", SCHEME, "Reason")
EXPLANATION = Code("EXPLANATION", SCHEME, "Explanation")
ENGLISH = Code("en-US", "RFC5646", "English (United States)")
_CHINESE = Code("zh-CN", "RFC5646", "Chinese (China)")
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
    `imaging.findings.Report`. English is always there; ``"zh"`` puts Chinese before it, ``"both"``
    after it.
    """

    reasons: tuple[Reason, ...]
    instances: tuple[ObjectRef, ...]
    algorithm: Algorithm | None
    result_key: str
    created: datetime
    language: Languages = "en"


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
        evidence=[stand_in(ref) for ref in dict.fromkeys(notice.instances)],
        content=_content(notice, stamp),
        series_instance_uid=stamp.series_uid,
        series_number=stamp.kind.value,
        sop_instance_uid=stamp.instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
    )
    made.CodingSchemeIdentificationSequence = [scheme_item()]
    return finished(
        made,
        source,
        stamp,
        description="Wetread AI analysis not performed",
        in_any_script=notice.language != "en",
    )


def _content(notice: Notice, stamp: Stamp) -> Dataset:
    root = ContainerContentItem(coded(TITLE), is_content_continuous=False)
    content = ContentSequence()
    content.extend(LanguageOfContentItemAndDescendants(coded(ENGLISH)))
    content.extend(_observer(notice, stamp))
    what = notice.algorithm.title if notice.algorithm else "AI"
    images = len(dict.fromkeys(notice.instances))
    content.extend(_explained(reason("NOT_PERFORMED", what=what, count=images), notice.language))
    for why in notice.reasons:
        code = coded(Code(why.code, SCHEME, why.text))
        content.append(CodeContentItem(coded(_REASON), code, relationship_type=_CONTAINS))
        content.extend(_explained(why, notice.language))
    content.extend(_explained(reason("RESEARCH_ONLY"), notice.language))
    root.ContentSequence = content
    return root


def in_languages(english: str, chinese: str, language: Languages) -> Iterator[TextContentItem]:
    """Give a sentence in the languages of the settings, each with its mark."""
    plain = TextContentItem(coded(EXPLANATION), words(english), relationship_type=_CONTAINS)
    if language == "en":
        yield plain
        return
    other = TextContentItem(coded(EXPLANATION), f"{chinese}。", relationship_type=_CONTAINS)
    other.ContentSequence = LanguageOfContentItemAndDescendants(coded(_CHINESE))
    yield from (other, plain) if language == "zh" else (plain, other)


def _explained(why: Reason, language: Languages) -> Iterator[TextContentItem]:
    return in_languages(f"{why.text}.", why.text_zh, language)


def _observer(notice: Notice, stamp: Stamp) -> list[ContentItem]:
    device = notice.algorithm
    uid = device.device_uid if device else stamp.uid("device")
    name = f"{device.title} {device.version}" if device else MANUFACTURER
    return [
        CodeContentItem(coded(_OBSERVER_TYPE), coded(_DEVICE), relationship_type=_CONTEXT),
        UIDRefContentItem(coded(_DEVICE_UID), uid, relationship_type=_CONTEXT),
        TextContentItem(coded(_DEVICE_NAME), line(name), relationship_type=_CONTEXT),
    ]


def scheme_item() -> Dataset:
    """Return the item that says whose private codes `SCHEME` are."""
    item = Dataset()
    item.CodingSchemeDesignator = SCHEME
    item.CodingSchemeName = "Wetread private codes"
    item.CodingSchemeResponsibleOrganization = MANUFACTURER
    return item
