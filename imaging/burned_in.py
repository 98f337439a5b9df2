"""Whether the pixels of an instance may show who the patient is: if in doubt, they may.

Text in pixels is not looked for. What a scanner computes (CT, MR, PET, and segmentations on them)
has none unless it says so; radiographs must say that they have none; all else is refused.
"""

from pydicom import Dataset

from imaging.attributes import number, text, texts
from imaging.reasons import Reason, reason

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_COMPUTED = frozenset(
    _STORAGE + end
    for end in ("2", "2.1", "2.2", "4", "4.1", "4.4", "128", "128.1", "130", "66.4")
    # CT, MR, PET, enhanced or converted to it; SEG
)
_RADIOGRAPHS = frozenset(
    _STORAGE + end for end in ("1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1")
)
_REPORTS = f"{_STORAGE}88."
_SCREENS = frozenset(
    ("SCREEN SAVE", "SCREENSAVE", "SCREEN", "DISPLAY", "CSA REPORT", "CSAPARALLEL")
)


def why_refused(ds: Dataset) -> Reason | None:
    """Return why an instance may not be given away, ``None`` when it may."""
    sop_class, said = text(ds, "SOPClassUID"), text(ds, "BurnedInAnnotation").upper()
    radiograph = sop_class in _RADIOGRAPHS
    if said not in {"", "NO"}:
        return _because("the header says that text is burned in")
    if sop_class.startswith(_REPORTS):
        return None
    doubts = {
        "images of this kind often have text burned in": not radiograph
        and sop_class not in _COMPUTED,
        "a radiograph whose header does not say that no text is burned in": radiograph
        and said != "NO",
        "a copy of a screen or of film": bool(text(ds, "ConversionType"))
        or not _SCREENS.isdisjoint(kind.upper() for kind in texts(ds, "ImageType")),
        "colour images often have text burned in": number(ds, "SamplesPerPixel") not in {None, 1},
    }
    return next((_because(doubt) for doubt, holds in doubts.items() if holds), None)


def _because(detail: str) -> Reason:
    return reason("MAY_SHOW_IDENTITY", detail=detail)
