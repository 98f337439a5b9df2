"""From a report to DICOM objects, each as a draft that the result store checks and keeps."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import Dataset

from imaging.findings import Report
from imaging.key_image import display_window, key_image
from imaging.key_slice import key_slice
from imaging.notice import Notice, not_performed
from imaging.objects import encoded
from imaging.rejection import Rejection, rejection_note
from imaging.seg import segmentation
from imaging.sentences import Languages
from imaging.sr import measurement_report
from imaging.text_report import Said, text_report
from imaging.tilt import source_plane
from imaging.volume import Volume
from serving.records import ResultKind
from serving.settings import WETREAD_VERSION


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draft:
    """A finished object: its data set and its Part 10 bytes."""

    kind: ResultKind
    dataset: Dataset
    part10: bytes


def report_drafts(report: Report, source: Dataset, volume: Volume) -> tuple[Draft, ...]:
    """Return SEG (when something is segmented), SR and key image of a report."""
    seg = segmentation(report, source, wetread_version=WETREAD_VERSION)
    sr = measurement_report(report, source, segmentation=seg, wetread_version=WETREAD_VERSION)
    index = key_slice(report)
    plane = source_plane(volume, index)
    picture = key_image(
        report,
        source,
        plane=plane,
        index=index,
        window=display_window(volume.instances[index], plane),
        wetread_version=WETREAD_VERSION,
    )
    drafts = (_draft("SR", sr), _draft("KEY_IMAGE", picture))
    return (_draft("SEG", seg), *drafts) if seg is not None else drafts


def segmentation_draft(report: Report, source: Dataset) -> Draft | None:
    """Return the SEG of a report alone; ``None`` when nothing is segmented."""
    seg = segmentation(report, source, wetread_version=WETREAD_VERSION)
    return None if seg is None else _draft("SEG", seg)


def notice_draft(notice: Notice, source: Dataset) -> Draft:
    """Return an "AI analysis not performed" object."""
    return _draft("NOTICE", not_performed(notice, source, wetread_version=WETREAD_VERSION))


def assessment_draft(document: Dataset) -> Draft:
    """Return a reader's assessment."""
    return _draft("ASSESSMENT", document)


def rejection_draft(rejection: Rejection, source: Dataset) -> Draft:
    """Return a note that withdraws results."""
    return _draft("REJECTION", rejection_note(rejection, source, wetread_version=WETREAD_VERSION))


def text_draft(report: Dataset, said: Sequence[Said], *, language: Languages) -> Draft:
    """Return what a report or a notice says, in words only."""
    return _draft("TEXT", text_report(report, said, language=language))


def _draft(kind: ResultKind, ds: Dataset) -> Draft:
    return Draft(kind=kind, dataset=ds, part10=encoded(ds))
