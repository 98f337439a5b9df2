"""A result in words only, for a PACS that takes neither SEG nor the measurement report.

A Basic Text SR (PS3.3 A.35.1), the oldest kind of structured report. It is made from the stored SR
or notice that it stands for: patient, study, observer and evidence are those.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

from highdicom.sr import RelationshipTypeValues, TextContentItem
from pydicom import Dataset
from pydicom.uid import UID, BasicTextSRStorage, EnhancedSRStorage

from imaging.codes import Code
from imaging.identity import derived_uid
from imaging.notice import EXPLANATION, SCHEME, in_languages, scheme_item
from imaging.objects import Kind, coded, line
from imaging.sentences import Languages
from imaging.text import in_utf_8

TITLE = Code("AI_RESULT_IN_WORDS", SCHEME, "AI result in words")
_COMMENT = ("121106", "DCM")
_QUALITATIVE = "C0034375"
_KEPT = ("HAS CONCEPT MOD", "HAS OBS CONTEXT")
_NOT_OF_WORDS = ("ContentTemplateSequence", "PredecessorDocumentsSequence")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One sentence in both languages."""

    english: str
    chinese: str


def text_report(report: Dataset, said: Sequence[Said], *, language: Languages) -> Dataset:
    """Return what a measurement report or a notice says as a Basic Text SR.

    `said` are the findings of a report; what else it says, and all of a notice, is taken over.
    """
    ds = in_utf_8(report, list(report.keys())) if language != "en" else deepcopy(report)
    ds.file_meta = deepcopy(report.file_meta)
    if report.SOPClassUID != EnhancedSRStorage:
        _say(ds, said, language)
    key = (str(report.SOPInstanceUID), Kind.TEXT.name, language)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(derived_uid(*key))
    ds.SeriesInstanceUID = derived_uid(*key, "series")
    ds.SeriesNumber = Kind.TEXT.value
    ds.SeriesDescription = line(f"{report.SeriesDescription} in words")
    return ds


def _say(ds: Dataset, said: Sequence[Said], language: Languages) -> None:
    """Put sentences in the place of what only a newer kind of report can hold."""
    for keyword in _NOT_OF_WORDS:
        if keyword in ds:
            delattr(ds, keyword)
    kept = [item for item in ds.ContentSequence if item.RelationshipType in _KEPT]
    told = [item for each in said for item in in_languages(each.english, each.chinese, language)]
    notes = [_plain(text) for text in _notes(ds)]
    ds.ContentSequence = [*kept, *told, *notes]
    ds.ConceptNameCodeSequence = [coded(TITLE)]
    ds.CodingSchemeIdentificationSequence = [scheme_item()]


def _notes(ds: Dataset) -> Iterator[str]:
    """Give what the report says beside its findings."""
    for container in ds.ContentSequence:
        title = container.get("ConceptNameCodeSequence") or [Dataset()]
        if title[0].get("CodeValue") == _QUALITATIVE:
            yield from (str(item.TextValue) for item in container.ContentSequence)


def _plain(text: str) -> TextContentItem:
    contains = RelationshipTypeValues.CONTAINS
    return TextContentItem(coded(EXPLANATION), text, relationship_type=contains)
