import numpy as np
import pytest
from monai.data.meta_tensor import MetaTensor
from monai.transforms.spatial.array import Spacing
from scipy import ndimage

from imaging.resample import (
    resample,
    resample_extended,
    resample_mask,
    respaced,
    stretched,
    windowed,
)
from tests.models.volumes import grid_of, oblique

RNG = np.random.default_rng(7)


def noise(shape):
    return RNG.random(shape, dtype=np.float32)


def centers(grid):
    indices = np.indices(grid.shape).reshape(3, -1).T.astype(np.float64)
    return grid.points_mm(indices).reshape(*grid.shape, 3)


def test_a_field_is_found_at_the_same_place_in_the_patient():
    source = oblique((30, 40, 50))
    middle = centers(source).reshape(-1, 3).mean(axis=0)
    affine = np.diag([1.1, 0.9, 1.3, 1.0])
    affine[:3, 3] = middle - 6
    target = grid_of((9, 10, 11), affine)
    direction = np.array([0.5, -1.0, 2.0])

    found = resample((centers(source) @ direction).astype(np.float32), source, target)

    np.testing.assert_allclose(found, centers(target) @ direction, atol=1e-3)


def test_the_same_grid_changes_nothing():
    voxels = noise((5, 6, 7))
    grid = oblique(voxels.shape)
    np.testing.assert_allclose(resample(voxels, grid, grid), voxels, atol=1e-5)


def test_outside_the_source_is_filled():
    grid = grid_of((4, 4, 4))
    beside = windowed(grid, (0, 0, 2), (4, 4, 4))
    found = resample(np.ones((4, 4, 4), np.float32), grid, beside, outside=-5.0)
    assert (found[..., :2] == 1).all()
    assert (found[..., 2:] == -5).all()


@pytest.mark.parametrize("shape", [(12, 20, 9), (5, 8, 30), (10, 10, 10)])
def test_stretching_is_interpolation_between_voxel_edges(shape):
    voxels = noise((10, 16, 18))
    grid = oblique(voxels.shape)
    target = stretched(grid, shape)

    found = resample(voxels, grid, target)

    factors = np.array(shape) / voxels.shape
    expected = ndimage.zoom(voxels, factors, order=1, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert target.extent_mm == pytest.approx(grid.extent_mm)


def test_smoothing_before_coarsening_follows_the_axes_it_coarsens():
    voxels = noise((40, 12, 12))
    grid = grid_of(voxels.shape)
    target = stretched(grid, (10, 12, 12))

    found = resample(voxels, grid, target, smooth=True)

    smooth = ndimage.gaussian_filter1d(voxels, sigma=1.5, axis=0, mode="nearest")
    expected = ndimage.zoom(smooth, (0.25, 1, 1), order=1, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert found.std() < 0.75 * resample(voxels, grid, target).std()


def test_respacing_puts_voxels_where_monai_does():
    voxels = noise((12, 18, 15))
    grid = grid_of(voxels.shape, np.diag([1.5, 1.2, 2.0, 1.0]))
    target = respaced(grid, (1.0, 2.0, 1.1))

    found = resample_extended(voxels, grid, target)

    image = MetaTensor(voxels[np.newaxis], affine=np.diag([2.0, 1.2, 1.5, 1.0]))
    expected = Spacing(pixdim=(1.0, 2.0, 1.1), mode="bilinear", padding_mode="border")(image)
    assert expected.shape[1:] == found.shape
    np.testing.assert_allclose(found, expected.numpy()[0], atol=1e-4)


def test_a_mask_takes_the_nearest_voxel():
    grid = grid_of((6, 6, 6))
    mask = np.zeros((6, 6, 6), bool)
    mask[2:4, 1:5, 3] = True
    finer = stretched(grid, (12, 12, 12))

    found = resample_mask(mask, grid, finer)

    np.testing.assert_array_equal(found, mask.repeat(2, 0).repeat(2, 1).repeat(2, 2))
    assert not resample_mask(mask, grid, windowed(grid, (20, 0, 0), (2, 6, 6))).any()
