import numpy as np
import pytest
from pydicom import Dataset

from imaging.findings import Mask
from imaging.mask_comparison import matching, overlap
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


def segment(masks: SegmentMasks, number: int) -> Dataset:
    return masks.dataset.SegmentSequence[number - 1]


def test_an_edited_mask_is_compared_pixel_by_pixel():
    """Four rows of ten are cut away, and a slice is added."""
    ours = stored(box(slice(0, 10)))
    theirs = stored(box(slice(4, 10), slice(1, 5)))
    found = overlap(ours, theirs, segment=1, as_segment=1)
    assert found is not None
    assert (found.ours, found.theirs, found.both) == (150, 120, 90)
    assert found.dice == pytest.approx(2 * 90 / 270)
    assert found.ratio == pytest.approx(0.8)


def test_the_same_again_agrees_fully():
    ours = stored(box(slice(0, 10)))
    found = overlap(ours, stored(box(slice(0, 10))), segment=1, as_segment=1)
    assert found is not None
    assert found.dice == 1


def test_masks_on_other_images_are_not_compared():
    ours = stored(box(slice(0, 10)))
    theirs = stored(box(slice(0, 10)), SeriesInstanceUID="1.2.99")
    for group in theirs.dataset.PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        source.ReferencedSOPInstanceUID += ".9"
    assert overlap(ours, theirs, segment=1, as_segment=1) is None


def test_segments_match_by_tracking_uid_before_label():
    ours = stored(box(slice(0, 5)), box(slice(5, 10)))
    theirs = stored(box(slice(0, 5)), box(slice(5, 10)))
    first, second = segment(theirs, 1), segment(theirs, 2)
    first.TrackingUID, second.TrackingUID = second.TrackingUID, first.TrackingUID
    assert matching(ours, theirs) == {1: 2, 2: 1}


def test_without_tracking_uid_the_label_tells_if_it_is_the_only_one():
    ours = stored(box(slice(0, 5)), box(slice(5, 10)))
    theirs = stored(box(slice(0, 5)), box(slice(5, 10)))
    for item in theirs.dataset.SegmentSequence:
        del item.TrackingUID, item.TrackingID
    segment(theirs, 1).SegmentLabel = f" {segment(ours, 2).SegmentLabel.upper()} "
    segment(theirs, 2).SegmentLabel = "something new"
    assert matching(ours, theirs) == {2: 1}
    segment(theirs, 2).SegmentLabel = segment(ours, 2).SegmentLabel
    assert matching(ours, SegmentMasks(dataset=theirs.dataset)) == {}
