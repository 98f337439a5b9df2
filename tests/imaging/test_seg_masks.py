import random

import numpy as np
import pytest
from highdicom.color import CIELabColor
from pydicom import Dataset, dcmread

from imaging.errors import ObjectInvalid
from imaging.findings import Mask
from imaging.seg import segmentation
from imaging.seg_masks import YELLOW, SegmentMasks
from tests.builders import mr_series, report_on

SHAPE = (6, 13, 11)  # 143 pixels a frame: frames begin within bytes


def masks() -> list[Mask]:
    first, second = np.zeros(SHAPE, dtype=bool), np.zeros(SHAPE, dtype=bool)
    first[1:4, 4:9, 3:9] = first[2, 0, 0] = first[3, 12, 10] = True
    second[3:5, 2:7, 5:11] = True
    return [first, second]


def stored() -> tuple[SegmentMasks, list[str]]:
    images = mr_series(SHAPE)
    report = report_on(images, masks())
    made = segmentation(report, images[0], wetread_version="0.1.0")
    assert made is not None
    return SegmentMasks(dataset=made), [header.image_key for header in report.instances]


def test_masks_come_back_image_by_image():
    found, keys = stored()
    for place, key in enumerate(keys):
        expected = {n: mask[place] for n, mask in enumerate(masks(), 1) if mask[place].any()}
        there = dict(found.on(key))
        assert there.keys() == expected.keys()
        assert all(np.array_equal(there[n], expected[n]) for n in expected)
    assert found.images(2) == set(keys[3:5])
    assert not list(found.coloured(keys[3], (99, 11)))


def test_a_grey_outline_would_not_be_seen():
    found, keys = stored()
    for item in found.dataset.SegmentSequence:
        item.RecommendedDisplayCIELabValue = [32768, 32896, 32896]
    assert [colour for _, colour in found.coloured(keys[3], SHAPE[1:])] == [YELLOW, YELLOW]


def test_colours_are_those_of_the_object():
    """As highdicom converts them, over the whole range."""
    rng = random.Random(1)
    for _ in range(50):
        colour = CIELabColor.from_rgb(*(rng.randrange(256) for _ in range(3)))
        item = Dataset()
        item.SegmentNumber, item.RecommendedDisplayCIELabValue = 1, list(colour.value)
        ds = Dataset()
        ds.SegmentSequence = [item]
        shown = SegmentMasks(dataset=ds).segments[1].colour
        assert np.abs(np.subtract(shown, colour.to_rgb(clip=True))).max() <= 1


def test_only_binary_segmentations_are_read():
    found, keys = stored()
    found.dataset.SegmentationType = "FRACTIONAL"
    with pytest.raises(ObjectInvalid):
        list(found.on(keys[2]))


def test_a_cut_off_object_is_refused(tmp_path):
    found, keys = stored()
    found.dataset.PixelData = found.dataset.PixelData[:10]
    found.dataset.save_as(tmp_path / "cut.dcm", enforce_file_format=True)
    with pytest.raises(ObjectInvalid):
        list(SegmentMasks(dataset=dcmread(tmp_path / "cut.dcm")).on(keys[3]))
