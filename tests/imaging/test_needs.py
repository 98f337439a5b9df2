from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset

from imaging.contrast import Contrast
from imaging.header import header_of
from imaging.needs import Need, misfits, plane
from imaging.stack import Stack, stacks_of
from tests.builders import ct_series, mr_series, placed

SHAPE = (20, 16, 16)
NEED = Need(modalities=("MR",), regions=("HEAD",), weightings=("T1",), min_slices=10,
            max_spacing_mm=6.0, min_extent_mm=90.0)  # fmt: skip


def stack_of(images: list[Dataset]) -> Stack:
    (stack,) = stacks_of([header_of(image) for image in images])
    assert isinstance(stack, Stack), stack
    return stack


def head(plane: str = "axial", **header: object) -> Stack:
    return stack_of(mr_series(SHAPE, placed(plane, (6.0, 6.0, 6.0)), **header))


def ct(**header: object) -> Stack:
    return stack_of(ct_series(SHAPE, placed("axial", (6.0, 6.0, 6.0)), **header))


def codes(stack: Stack, **need: object) -> list[str]:
    return [why.code for why in misfits(replace(NEED, **need), stack)]


def only(**need: object) -> Need:
    return Need(modalities=(), **need)


def test_a_series_that_meets_every_need_has_no_misfit() -> None:
    assert codes(head()) == []


def test_every_misfit_is_named_at_once_with_its_numbers() -> None:
    images = ct_series((4, 16, 16), placed("axial", (8.0, 1.0, 1.0)), BodyPartExamined="CHEST",
                       StudyDescription="Thorax")  # fmt: skip
    found = misfits(NEED, stack_of(images))
    assert [why.code for why in found] == [
        "MODALITY",
        "REGION",
        "FEW_SLICES",
        "SPACING",
        "COVERAGE",
    ]
    assert found[0].text == "modality is CT, not MR"
    assert found[1].text_zh == "检查部位为胸部，需要头部"
    assert dict(found[2].numbers) == {"count": 4, "least": 10}
    assert found[3].text == "voxels are 8.00 mm apart; at most 6.00 mm is needed"
    assert found[4].text == "the block is 16 mm across its thinnest side; at least 90 mm is needed"


def test_a_wrong_name_does_not_make_a_t1() -> None:
    lying = head(RepetitionTime=4000, EchoTime=100, ScanningSequence="SE",
                 SeriesDescription="T1 MPRAGE")  # fmt: skip
    assert codes(lying) == ["WEIGHTING"]


@pytest.mark.parametrize("name", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("turn_deg", [-30.0, 0.0, 30.0])
def test_the_plane_is_the_closest_one(name: str, turn_deg: float) -> None:
    stack = stack_of(mr_series(SHAPE, placed(name, turn_deg=turn_deg)))
    assert plane(stack.grid) == name
    others = {"axial", "coronal", "sagittal"} - {name}
    assert misfits(only(orientations=(name,)), stack) == ()
    assert [why.code for why in misfits(only(orientations=tuple(others)), stack)] == ["ORIENTATION"]


@pytest.mark.parametrize(
    ("need", "code"),
    [
        ({"acquisitions": ("2D",)}, "ACQUISITION"),
        ({"echoes": ("spin echo",)}, "ECHO"),
        ({"origins": ("reformatted",)}, "DERIVED"),
        ({"contrast": Contrast.YES}, "CONTRAST"),
        ({"max_slices": 19}, "MANY_SLICES"),
        ({"min_spacing_mm": 6.5}, "SPACING_TOO_FINE"),
    ],
)
def test_each_need_refuses_what_does_not_meet_it(need: dict[str, object], code: str) -> None:
    assert codes(head(), **need) == [code]


@pytest.mark.parametrize(
    "need",
    [
        {"acquisitions": ("3D",)},
        {"echoes": ("gradient echo",)},
        {"origins": ("primary", "reformatted")},
        {"contrast": Contrast.NO},
        {"max_slices": 20},
        {"min_spacing_mm": 6.0},
        {"kernels": ("bone",)},  # of CT only
    ],
)
def test_each_need_accepts_what_meets_it(need: dict[str, object]) -> None:
    assert codes(head(), **need) == []


def test_kernels_are_asked_of_ct_and_sequences_of_mr() -> None:
    need = only(kernels=("soft",), weightings=("T1",))
    assert misfits(need, ct(ConvolutionKernel="H30s")) == ()
    (why,) = misfits(need, ct(ConvolutionKernel="BONEPLUS"))
    assert why.text == "the reconstruction kernel is bone (BONEPLUS); soft is needed"


def test_coverage_is_measured_along_the_patient() -> None:
    # 20 slices of 6 mm, from right to left: 120 mm; rows and columns 96 mm.
    stack = head("sagittal")
    assert misfits(only(min_coverage_mm=(120.0, 96.0, 96.0)), stack) == ()
    found = misfits(only(min_coverage_mm=(121.0, 97.0, 97.0)), stack)
    assert [dict(why.numbers)["along"] for why in found] == [
        "from left to right",
        "from front to back",
        "from head to foot",
    ]
    assert found[0].text_zh == "扫描范围左右方向为 120 mm，至少需要 121 mm"


def test_extent_counts_voxel_edges() -> None:
    np.testing.assert_allclose(head().grid.extent_mm, (120.0, 96.0, 96.0))
