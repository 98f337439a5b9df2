"""How far two segmentations of the same images agree: Dice and sizes, or why it cannot be said."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from imaging.attributes import Vector, items, text, vector
from imaging.errors import ObjectInvalid
from imaging.findings import Mask
from imaging.reasons import Reason, reason
from imaging.seg_masks import SegmentMasks

_CLOSE = 1e-3  # of direction cosines, and mm of a pixel


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Pixels of one segment in two objects, and in both."""

    ours: int
    theirs: int
    both: int

    @property
    def dice(self) -> float:
        """Twice the common pixels over all; 1 when both are empty."""
        return 2 * self.both / (self.ours + self.theirs) if self.ours + self.theirs else 1.0

    @property
    def ratio(self) -> float | None:
        """Their size in units of ours: of volumes too, because both lie on the same images."""
        return self.theirs / self.ours if self.ours else None


def overlap(
    ours: SegmentMasks, theirs: SegmentMasks, *, segment: int, as_segment: int
) -> Overlap | Reason:
    """Compare one segment with theirs, pixel by pixel, or say why they cannot be compared.

    An image that only one of them covers is empty in the other.
    """
    if why := _hindrance(ours.dataset, theirs.dataset):
        return why
    ours_on, theirs_on = ours.images(segment), theirs.images(as_segment)
    if not theirs_on or (ours_on and not ours_on & theirs_on):
        return reason("SAVED_OTHER_IMAGES")
    try:
        counts = [
            _count(_mask(ours, key, segment), _mask(theirs, key, as_segment))
            for key in ours_on | theirs_on
        ]
    except ObjectInvalid as error:
        return reason("SAVED_UNREADABLE", detail=str(error))
    return Overlap(
        ours=sum(c.ours for c in counts),
        theirs=sum(c.theirs for c in counts),
        both=sum(c.both for c in counts),
    )


def _hindrance(ours: Dataset, theirs: Dataset) -> Reason | None:
    """Return why two objects cannot be compared; what one of them does not say is no reason."""
    if theirs.get("SegmentationType") != "BINARY":
        return reason("SAVED_NOT_BINARY")
    frames = [text(ds, "FrameOfReferenceUID") for ds in (ours, theirs)]
    if all(frames) and frames[0] != frames[1]:
        return reason("SAVED_OTHER_FRAME")
    sizes = [(ds.get("Rows"), ds.get("Columns")) for ds in (ours, theirs)]
    if sizes[0] != sizes[1] or not all(_agree(*each) for each in _geometry(ours, theirs)):
        return reason("SAVED_OTHER_GRID")
    return None


def _geometry(ours: Dataset, theirs: Dataset) -> Iterator[tuple[Vector | None, Vector | None]]:
    for group, keyword in (
        ("PlaneOrientationSequence", "ImageOrientationPatient"),
        ("PixelMeasuresSequence", "PixelSpacing"),
    ):
        mine, their = (_shared(ds, group, keyword) for ds in (ours, theirs))
        yield mine, their


def _shared(ds: Dataset, group: str, keyword: str) -> Vector | None:
    for place in items(ds, "SharedFunctionalGroupsSequence"):
        for item in items(place, group):
            return vector(item, keyword)
    return None


def _agree(mine: Vector | None, their: Vector | None) -> bool:
    return mine is None or their is None or bool(np.allclose(mine, their, atol=_CLOSE))


def _count(mine: Mask | None, their: Mask | None) -> Overlap:
    if mine is not None and their is not None and mine.shape != their.shape:
        msg = "the masks have different sizes"
        raise ObjectInvalid(msg)
    both = 0 if mine is None or their is None else int((mine & their).sum())
    return Overlap(
        ours=0 if mine is None else int(mine.sum()),
        theirs=0 if their is None else int(their.sum()),
        both=both,
    )


def _mask(masks: SegmentMasks, key: str, segment: int) -> Mask | None:
    return next((mask for number, mask in masks.on(key) if number == segment), None)
