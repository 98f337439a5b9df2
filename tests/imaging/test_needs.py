import numpy as np
import pytest

from imaging.header import header_of
from imaging.needs import Need, misfits, region, region_named, weighting
from imaging.stack import stacks_of
from tests.builders import ct_series, mr_series, placed

SHAPE = (20, 16, 16)
NEED = Need(modalities=("MR",), regions=("HEAD",), weightings=("T1",), min_slices=10,
            max_spacing_mm=6.0, min_extent_mm=90.0)  # fmt: skip


def stack_of(images):
    (stack,) = stacks_of([header_of(image) for image in images])
    return stack


def codes(images) -> list[str]:
    return [reason.code for reason in misfits(NEED, stack_of(images))]


def head(**header):
    return mr_series(SHAPE, placed("axial", (6.0, 6.0, 6.0)), BodyPartExamined="HEAD", **header)


def test_a_series_that_meets_every_need_has_no_misfit():
    assert codes(head()) == []


def test_every_misfit_is_named_at_once():
    images = ct_series((4, 16, 16), placed("axial", (8.0, 1.0, 1.0)), BodyPartExamined="CHEST")
    assert codes(images) == ["MODALITY", "REGION", "FEW_SLICES", "SPACING", "COVERAGE"]


@pytest.mark.parametrize(
    ("expected", "header"),
    [
        ("T1", {"RepetitionTime": 8, "EchoTime": 3, "ScanningSequence": "GR"}),
        ("T1", {"RepetitionTime": 500, "EchoTime": 12, "ScanningSequence": "SE"}),
        ("T1", {"RepetitionTime": 2300, "EchoTime": 3, "InversionTime": 900,
                "ScanningSequence": ["GR", "IR"]}),
        ("T2", {"RepetitionTime": 4000, "EchoTime": 100, "ScanningSequence": "SE"}),
        ("FLAIR", {"RepetitionTime": 9000, "EchoTime": 120, "InversionTime": 2500,
                   "ScanningSequence": ["SE", "IR"]}),
        ("PD", {"RepetitionTime": 3000, "EchoTime": 15, "ScanningSequence": "SE"}),
        ("DWI", {"RepetitionTime": 5000, "EchoTime": 70, "SeriesDescription": "ep2d_diff"}),
        ("OTHER", {"RepetitionTime": 25, "EchoTime": 4, "SeriesDescription": "TOF 3D"}),
        ("T1", {"RepetitionTime": None, "EchoTime": None, "SeriesDescription": "Sag T1 MPRAGE"}),
        ("", {"RepetitionTime": None, "EchoTime": None, "SeriesDescription": "Series 3"}),
    ],
)  # fmt: skip
def test_contrast_is_known_by_timing_before_words(expected, header):
    (image, *_) = mr_series(SHAPE, **({"InversionTime": None} | header))
    assert weighting(header_of(image)) == expected


def test_a_wrong_name_does_not_make_a_t1():
    images = head(RepetitionTime=4000, EchoTime=100, SeriesDescription="T1 MPRAGE")
    assert codes(images) == ["WEIGHTING"]


def test_region_by_body_part_then_by_words():
    (image, *_) = mr_series(SHAPE, BodyPartExamined="KNEE", SeriesDescription="brain")
    assert region(header_of(image)) == "KNEE"
    assert region_named("", "MR Schädel nativ") == "HEAD"
    assert region_named("", "头颅平扫") == "HEAD"
    assert region_named("BRAIN") == "HEAD"
    assert region_named("", "") == ""


def test_extent_counts_voxel_edges():
    stack = stack_of(head())
    np.testing.assert_allclose(stack.grid.extent_mm, (120.0, 96.0, 96.0))
