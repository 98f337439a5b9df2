"""How far two segmentations of the same images agree: which segments mean the same, Dice, sizes."""

from collections.abc import Mapping
from dataclasses import dataclass

from imaging.errors import ObjectInvalid
from imaging.findings import Mask
from imaging.seg_masks import SegmentMasks


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


def matching(ours: SegmentMasks, theirs: SegmentMasks) -> Mapping[int, int]:
    """Return their segment for each of ours: the same tracking UID, else the same label.

    Editors often lose tracking UIDs and keep labels; a label that is there twice tells nothing.
    """
    found: dict[int, int] = {}
    for number, mine in ours.segments.items():
        tracked = [
            n for n, s in theirs.segments.items() if s.tracking_uid == mine.tracking_uid != ""
        ]
        labelled = [n for n, s in theirs.segments.items() if _same(s.label, mine.label)]
        for candidates in (tracked, labelled):
            if len(candidates) == 1:
                found[number] = candidates[0]
                break
    return found


def overlap(
    ours: SegmentMasks, theirs: SegmentMasks, *, segment: int, as_segment: int
) -> Overlap | None:
    """Compare one segment with theirs; ``None`` when they lie on other images or cannot be read.

    An image that only one of them covers is empty in the other.
    """
    ours_on, theirs_on = ours.images(segment), theirs.images(as_segment)
    if ours_on and theirs_on and not ours_on & theirs_on:
        return None
    try:
        counts = [
            _count(_mask(ours, key, segment), _mask(theirs, key, as_segment))
            for key in ours_on | theirs_on
        ]
    except ObjectInvalid:
        return None
    return Overlap(
        ours=sum(c.ours for c in counts),
        theirs=sum(c.theirs for c in counts),
        both=sum(c.both for c in counts),
    )


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


def _same(label: str, other: str) -> bool:
    return label.strip().casefold() == other.strip().casefold() != ""
