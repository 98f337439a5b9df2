from collections.abc import Callable

import numpy as np
import pytest
from pydicom import Dataset

from imaging.findings import Mask
from imaging.mask_comparison import Overlap, overlap
from imaging.reasons import Reason
from imaging.seg import segmentation
from imaging.seg_masks import SegmentMasks
from tests.builders import mr_series, report_on

SHAPE = (6, 13, 11)


def box(rows: slice, slices: slice = slice(1, 4)) -> Mask:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[slices, rows, 2:7] = True
    return mask


def stored(*masks: Mask, **header: object) -> SegmentMasks:
    images = mr_series(SHAPE, **header)
    made = segmentation(report_on(images, masks), images[0], wetread_version="0.1.0")
    assert made is not None
    return SegmentMasks(dataset=made)


def test_an_edited_mask_is_compared_pixel_by_pixel():
    """Four rows of ten are cut away, and a slice is added."""
    ours = stored(box(slice(0, 10)))
    theirs = stored(box(slice(4, 10), slice(1, 5)))
    found = overlap(ours, theirs, segment=1, as_segment=1)
    assert isinstance(found, Overlap)
    assert (found.ours, found.theirs, found.both) == (150, 120, 90)
    assert found.dice == pytest.approx(2 * 90 / 270)
    assert found.ratio == pytest.approx(0.8)


def test_the_same_again_agrees_fully():
    ours = stored(box(slice(0, 10)))
    found = overlap(ours, stored(box(slice(0, 10))), segment=1, as_segment=1)
    assert isinstance(found, Overlap)
    assert found.dice == 1


def elsewhere(ds: Dataset) -> None:
    for group in ds.PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        source.ReferencedSOPInstanceUID += ".9"


def nowhere(ds: Dataset) -> None:
    for group in ds.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence


def other_frame(ds: Dataset) -> None:
    ds.FrameOfReferenceUID = "1.2.99"


def turned(ds: Dataset) -> None:
    plane = ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    plane.ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]


def coarser(ds: Dataset) -> None:
    ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [2, 2]


def wider(ds: Dataset) -> None:
    ds.Columns = 22


def fractional(ds: Dataset) -> None:
    ds.SegmentationType = "FRACTIONAL"


def cut_off(ds: Dataset) -> None:
    ds.PixelData = ds.PixelData[:4]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (elsewhere, "SAVED_OTHER_IMAGES"),
        (nowhere, "SAVED_OTHER_IMAGES"),
        (other_frame, "SAVED_OTHER_FRAME"),
        (turned, "SAVED_OTHER_GRID"),
        (coarser, "SAVED_OTHER_GRID"),
        (wider, "SAVED_OTHER_GRID"),
        (fractional, "SAVED_NOT_BINARY"),
        (cut_off, "SAVED_UNREADABLE"),
    ],
)
def test_what_cannot_be_compared_says_why(change: Callable[[Dataset], None], why: str):
    ours, theirs = stored(box(slice(0, 10))), stored(box(slice(0, 10)))
    change(theirs.dataset)
    found = overlap(ours, theirs, segment=1, as_segment=1)
    assert isinstance(found, Reason)
    assert found.code == why


def test_what_a_viewer_leaves_out_of_the_geometry_is_no_hindrance():
    theirs = stored(box(slice(0, 10)))
    del theirs.dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    found = overlap(stored(box(slice(0, 10))), theirs, segment=1, as_segment=1)
    assert isinstance(found, Overlap)
