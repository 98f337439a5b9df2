import itertools

import numpy as np
import pytest
from monai.data.meta_tensor import MetaTensor
from monai.transforms.croppad.array import CenterSpatialCrop, SpatialPad
from monai.transforms.intensity.array import (
    NormalizeIntensity,
    ScaleIntensityRange,
    ScaleIntensityRangePercentiles,
)
from monai.transforms.spatial.array import Orientation

from imaging.geometry import axis_codes
from models.manifest import InputSpec, Intensity, Scaling, Sizing
from models.preprocess import Block, cropped, prepared, restored, scale_of, sized, turn_to, turned
from tests.models.volumes import grid_of, oblique

RNG = np.random.default_rng(11)
AXES = ["".join(letters) for order in itertools.permutations(["LR", "AP", "SI"])
        for letters in itertools.product(*order)]  # fmt: skip


def block(shape=(10, 12, 14), grid=None):
    voxels = RNG.random(shape, dtype=np.float32)
    return Block(voxels=voxels, grid=grid or oblique(shape))


def spec(**changes):
    fields = {
        "axes": "RAS",
        "spacing_mm": None,
        "sizing": Sizing.KEEP,
        "size": None,
        "crop": False,
        "channels": 1,
        "channels_last": False,
        "intensity": Intensity(scaling=Scaling.NONE, lower=0.0, upper=1.0),
    }
    return InputSpec(**(fields | changes))


def ras_affine(grid):
    """NIfTI affine of the array as it is indexed here: (slice, row, column) to RAS."""
    affine = grid.affine[:, [2, 1, 0, 3]]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


@pytest.mark.parametrize("axes", AXES)
def test_turning_is_monais_orientation_and_undone_exactly(axes):
    start = block()
    found = turned(start, axes)

    image = MetaTensor(start.voxels[np.newaxis], affine=ras_affine(start.grid))
    letters = (("L", "R"), ("P", "A"), ("I", "S"))
    expected = Orientation(axcodes=axes, labels=letters)(image)

    np.testing.assert_array_equal(found.voxels, expected.numpy()[0])
    np.testing.assert_allclose(ras_affine(found.grid), expected.affine.numpy(), atol=1e-9)
    assert axis_codes(found.grid) == axes
    back = turn_to(axes, start.grid).undone(found.voxels)
    np.testing.assert_array_equal(back, start.voxels)


@pytest.mark.parametrize("shape", [(9, 10, 11), (4, 17, 8), (5, 5, 20)])
@pytest.mark.parametrize("size", [(8, 9, 10), (12, 12, 13), (6, 16, 9)])
def test_padding_and_cutting_is_monais(shape, size):
    start = block(shape)
    found = sized(start, Sizing.PAD, size)
    image = start.voxels[np.newaxis]
    expected = SpatialPad(size)(CenterSpatialCrop(size)(image)).numpy()[0]
    np.testing.assert_array_equal(found.voxels, expected)


@pytest.mark.parametrize(
    ("scaling", "lower", "upper", "transform"),
    [
        (Scaling.RANGE, 20.0, 80.0, ScaleIntensityRange(20, 80, 0.0, 1.0, clip=True)),
        (Scaling.PERCENTILE, 1.0, 99.0, ScaleIntensityRangePercentiles(1, 99, 0, 1, clip=True)),
        (Scaling.ZSCORE, 0.0, 1.0, NormalizeIntensity()),
    ],
)
def test_scaling_is_monais(scaling, lower, upper, transform):
    voxels = (RNG.random((8, 9, 10), dtype=np.float32) ** 2) * 100
    scale = scale_of(voxels, Intensity(scaling=scaling, lower=lower, upper=upper))
    np.testing.assert_allclose(
        scale(voxels), np.asarray(transform(voxels[np.newaxis]))[0], atol=1e-5
    )


@pytest.mark.parametrize("scaling", list(Scaling))
def test_a_flat_image_stays_finite(scaling):
    voxels = np.zeros((3, 3, 3), np.float32)
    scale = scale_of(voxels, Intensity(scaling=scaling, lower=0.0, upper=1.0))
    assert np.isfinite(scale(voxels)).all()


def test_maximum_divides_by_the_largest_value():
    voxels = np.array([[[2.0, 8.0]]], np.float32)
    scale = scale_of(voxels, Intensity(scaling=Scaling.MAXIMUM, lower=0.0, upper=1.0))
    np.testing.assert_allclose(scale(voxels), [[[0.25, 1.0]]])


@pytest.mark.parametrize("axes", ["RAS", "SPL", "AIL"])
@pytest.mark.parametrize("size", [(20, 20, 20), (16, 22, 18)])
def test_a_map_on_padded_and_turned_voxels_comes_back_as_it_was(axes, size):
    start = block()
    there = prepared(start, spec(axes=axes, sizing=Sizing.PAD, size=size))
    back = restored(there.voxels, there.grid, start.grid)
    np.testing.assert_allclose(back, start.voxels, atol=1e-5)


def test_what_was_cut_off_comes_back_as_zero():
    start = block()
    there = prepared(start, spec(axes="LPS", sizing=Sizing.PAD, size=(6, 6, 6)))
    back = restored(there.voxels, there.grid, start.grid)
    assert np.count_nonzero(back) == np.count_nonzero(there.voxels)
    kept = back > 0
    np.testing.assert_allclose(back[kept], start.voxels[kept], atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"sizing": Sizing.STRETCH, "size": (40, 48, 64)},
        {"spacing_mm": (1.0, 1.0, 1.0)},
        {"spacing_mm": (1.0, 1.1, 0.9), "sizing": Sizing.PAD, "size": (70, 70, 70)},
    ],
)
def test_a_smooth_map_comes_back_through_resampling(changes):
    shape = (24, 30, 32)
    s, r, c = np.indices(shape)
    smooth = np.sin(s / 6.0) + np.cos(r / 7.0) * np.sin(c / 8.0)
    start = Block(voxels=smooth.astype(np.float32), grid=oblique(shape))
    there = prepared(start, spec(**changes))
    back = restored(there.voxels, there.grid, start.grid)
    inner = (slice(2, -2),) * 3
    np.testing.assert_allclose(back[inner], start.voxels[inner], atol=0.03)


def test_cropping_keeps_tissue_and_its_place():
    voxels = RNG.random((10, 20, 20), dtype=np.float32)
    voxels[2:7, 5:15, 4:9] += 100.0
    start = Block(voxels=voxels, grid=grid_of(voxels.shape))
    found = cropped(start)
    np.testing.assert_array_equal(found.voxels, voxels[2:7, 5:15, 4:9])
    assert found.grid.origin_mm == (4.0, 5.0, 2.0)


def test_nothing_to_crop_by_leaves_all():
    start = Block(voxels=np.zeros((3, 4, 5), np.float32), grid=grid_of((3, 4, 5)))
    assert cropped(start) is start
