import numpy as np
import pytest

from imaging import measure
from tests.models.volumes import grid_of, oblique


def ball(shape, radius, center=None):
    center = [(n - 1) / 2 for n in shape] if center is None else center
    distance = sum((axis - c) ** 2 for axis, c in zip(np.indices(shape), center, strict=True))
    return distance <= radius**2


def head(shape=(60, 60, 60), top_missing=0):
    """A ball of brain in dark fluid in bright skin; axial, slices upwards."""
    brain, skull, skin = ball(shape, 18), ball(shape, 22), ball(shape, 25)
    voxels = np.where(brain, 100.0, np.where(skull, 20.0, np.where(skin, 90.0, 0.0)))
    keep = slice(0, shape[0] - top_missing)
    return voxels[keep].astype(np.float32), brain[keep]


def test_volume_counts_voxels_in_millilitres():
    mask = np.zeros((4, 5, 6), bool)
    mask[1:3, 1:3, 1:3] = True
    assert measure.volume_ml(mask, oblique(mask.shape)) == pytest.approx(8 * 2.0 * 1.5 * 1.2 / 1000)


def test_the_largest_component_is_joined_by_faces():
    mask = np.zeros((5, 5, 5), bool)
    mask[0, 0, :3] = True
    mask[1, 1, 3:] = True  # larger parts only touch by an edge
    mask[4, 2:5, 2:4] = True
    largest = measure.largest_component(mask)
    assert largest.sum() == 6
    assert largest[4, 2, 2]


def test_the_largest_component_of_nothing_is_nothing():
    assert not measure.largest_component(np.zeros((3, 3, 3), bool)).any()


def test_closed_holes_are_filled_and_bays_are_not():
    mask = ball((15, 15, 15), 6)
    mask[7, 7, 7] = False
    mask[7, 7, 11:] = False
    whole = measure.filled(mask)
    assert whole[7, 7, 7]
    assert not whole[7, 7, 12]


def test_the_key_slice_has_the_largest_area():
    assert measure.key_slice(ball((20, 20, 20), 6, center=(13, 10, 10))) == 13


def test_rim_ratio_tells_a_brain_in_fluid_from_one_that_is_cut_out():
    voxels, brain = head()
    grid = grid_of(voxels.shape)
    assert measure.rim_ratio(voxels, brain, grid, width_mm=4.0) == pytest.approx(0.2)
    inner = ball(voxels.shape, 12)
    assert measure.rim_ratio(voxels, inner, grid, width_mm=4.0) == pytest.approx(1.0)


def test_rim_width_is_in_millimetres():
    voxels, brain = head()
    coarse = grid_of(voxels.shape, np.diag([4.0, 4.0, 4.0, 1.0]))
    assert measure.rim_ratio(voxels, brain, coarse, width_mm=16.0) == pytest.approx(0.2)


def test_rim_ratio_of_nothing_is_zero():
    voxels, brain = head()
    grid = grid_of(voxels.shape)
    assert measure.rim_ratio(voxels, np.zeros_like(brain), grid, width_mm=4.0) == 0.0


def test_air_on_a_face_is_no_cut():
    voxels, brain = head()
    for face in "LRAPSI":
        assert measure.cut_area_cm2(voxels, brain, grid_of(voxels.shape), face=face) == 0.0


@pytest.mark.parametrize("spacing", [1.0, 2.0])
def test_a_cut_head_shows_its_section_on_the_face_it_lost(spacing):
    voxels, brain = head(top_missing=20)
    grid = grid_of(voxels.shape, np.diag([spacing, spacing, 1.0, 1.0]))
    expected = np.count_nonzero(voxels[-1][brain.any(axis=0)] > 35) * spacing**2 / 100
    assert measure.cut_area_cm2(voxels, brain, grid, face="S") == pytest.approx(expected)
    assert measure.cut_area_cm2(voxels, brain, grid, face="A") == 0.0


def test_faces_are_the_patients_whatever_the_array_axes():
    voxels, brain = head(top_missing=20)
    sagittal = np.ascontiguousarray(voxels.transpose(2, 0, 1)[:, ::-1])
    mask = np.ascontiguousarray(brain.transpose(2, 0, 1)[:, ::-1])
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]])
    grid = grid_of(mask.shape, affine)
    top = measure.cut_area_cm2(sagittal, mask, grid, face="S")
    assert top == measure.cut_area_cm2(voxels, brain, grid_of(voxels.shape), face="S") > 0
    assert measure.cut_area_cm2(sagittal, mask, grid, face="I") == 0.0


def test_a_section_lies_at_its_depth_below_the_face():
    mask = np.zeros((20, 10, 10), bool)
    mask[4:] = True
    grid = grid_of(mask.shape, np.diag([1.0, 1.0, 2.0, 1.0]))
    assert measure.section_cm2(mask, grid, face="I", depth_mm=7.0) == pytest.approx(1.0)
    assert measure.section_cm2(mask, grid, face="I", depth_mm=6.0) == 0.0
    assert measure.section_cm2(mask, grid, face="S", depth_mm=500.0) == 0.0


def test_what_hangs_on_by_a_thin_bridge_is_left_out():
    large, small = ball((40, 40, 60), 14, (20, 20, 18)), ball((40, 40, 60), 8, (20, 20, 48))
    bridge = np.zeros_like(large)
    bridge[19:22, 19:22, 18:48] = True
    mask = large | small | bridge
    grid = grid_of(mask.shape, np.diag([1.0, 1.0, 1.0, 1.0]))
    kept = measure.trunk(mask, grid, bridge_mm=6.0)
    assert not (kept & small & ~large).any()
    assert (kept & large).sum() > 0.999 * large.sum()
    bridge[14:27, 14:27, 18:48] = True
    assert (measure.trunk(mask | bridge, grid, bridge_mm=6.0) & small).sum() > 0.99 * small.sum()
    assert not measure.trunk(mask, grid, bridge_mm=60.0).any()
    assert not measure.trunk(np.zeros_like(mask), grid, bridge_mm=6.0).any()


def test_small_parts_are_left_out():
    mask = np.zeros((20, 20, 20), bool)
    mask[2:12, 2:12, 2:12] = True
    mask[15:17, 15:17, 15:17] = True
    grid = grid_of(mask.shape, np.eye(4))
    assert measure.large_components(mask, grid, least_ml=0.5).sum() == 1000
    assert measure.large_components(mask, grid, least_ml=0.008).sum() == 1008
    assert not measure.large_components(mask, grid, least_ml=2.0).any()
