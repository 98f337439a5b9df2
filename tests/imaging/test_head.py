"""Measures of a head of ellipsoids, whose answers are known, however it lies in the scanner."""

import numpy as np
import pytest

from imaging.errors import InputError
from imaging.geometry import Grid
from imaging.head import Density, Scan, evans_index, odd_densities, sides
from imaging.midplane import head_frame

SKULL_MM = (68.0, 85.0, 66.0)  # half axes to the left, back and head
BASE_MM = -38.0  # flat below: a ball would not say how it leans


def turned(turn_degrees=0.0, lean_degrees=0.0):
    """Axes of the head as columns, in the patient's frame."""
    a, b = np.deg2rad([turn_degrees, lean_degrees])
    about_head = [[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]
    about_front = [[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]
    return np.array(about_head) @ np.array(about_front)


def axial(spacing=(2.0, 1.5, 1.5), extent=(150.0, 190.0, 160.0)):
    s, r, c = (round(e / mm) for e, mm in zip(extent, spacing, strict=True))
    affine = np.diag([spacing[2], spacing[1], spacing[0], 1.0])
    affine[:3, 3] = [-extent[2] / 2, -extent[1] / 2, -extent[0] / 2]
    return Grid(shape=(s, r, c), affine=affine, frame_of_reference_uid="1.2.3")


def sagittal():
    """Slices from right to left, rows down, columns to the back."""
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, 2.0], [1.5, 0, 0], [0, -1.5, 0]])
    affine[:3, 3] = [-80.0, -95.0, 75.0]
    return Grid(shape=(80, 100, 127), affine=affine, frame_of_reference_uid="1.2.3")


class Head:
    """Ellipsoids on a grid: the skull's inside, ventricles with horns 36 mm apart at most."""

    def __init__(self, grid, axes=None, left_ml_more=0.0):
        self.grid = grid
        index = np.indices(grid.shape).reshape(3, -1).T.astype(float)
        self.places = grid.points_mm(index) @ (np.eye(3) if axes is None else axes)
        above_base = (self.places[:, 2] > BASE_MM).reshape(grid.shape)
        self.inside = self.ellipsoid((0, 0, 0), SKULL_MM) & above_base
        left = self.ellipsoid((11, -5, 5), (7, 35 + left_ml_more, 9))
        self.ventricles = left | self.ellipsoid((-11, -5, 5), (7, 35, 9))

    def ellipsoid(self, middle, half_mm):
        distance = (((self.places - middle) / half_mm) ** 2).sum(axis=1)
        return (distance <= 1).reshape(self.grid.shape)

    @property
    def frame(self):
        return head_frame(self.inside, self.grid, spacing_mm=1.0)


LYING = [
    pytest.param(axial(), turned(), id="straight"),
    pytest.param(axial(), turned(14, 0), id="turned"),
    pytest.param(axial(), turned(-6, 11), id="turned and leaning"),
    pytest.param(sagittal(), turned(5, -4), id="sagittal slices"),
]


@pytest.mark.parametrize(("grid", "axes"), LYING)
def test_the_plane_between_left_and_right_is_found(grid, axes):
    frame = Head(grid, axes).frame
    assert frame.symmetry > 0.97
    normal = frame.grid.direction[:, 0]
    off = np.degrees(np.arccos(min(float(normal @ axes[:, 0]), 1.0)))
    assert off < 1.5


@pytest.mark.parametrize(("grid", "axes"), LYING)
def test_evans_index_is_horns_over_skull_in_the_same_slice(grid, axes):
    head = Head(grid, axes)
    index = evans_index(head.ventricles, head.inside, grid, frame=head.frame)
    assert index.horns_mm == pytest.approx(35, abs=2.5)
    assert index.skull_mm == pytest.approx(135.5, abs=3)
    assert index.ratio == pytest.approx(35 / 135.5, abs=0.02)


def test_without_ventricles_there_is_no_index():
    head = Head(axial())
    nothing = np.zeros_like(head.inside)
    assert evans_index(nothing, head.inside, head.grid, frame=head.frame) is None


@pytest.mark.parametrize(("grid", "axes"), LYING)
def test_sides_are_told_apart_by_the_plane_of_the_head(grid, axes):
    head = Head(grid, axes, left_ml_more=10.0)
    parts = sides(head.ventricles, grid, head.frame)
    ellipsoid_ml = 4 / 3 * np.pi * 7 * 35 * 9 / 1000
    assert parts.right_ml == pytest.approx(ellipsoid_ml, rel=0.05)
    assert parts.left_ml == pytest.approx(ellipsoid_ml * 45 / 35, rel=0.05)
    assert parts.asymmetry_percent == pytest.approx(200 * (45 - 35) / (45 + 35), abs=5)


def ct_of(head, *painted):
    """Brain of 34 HU with noise, ventricles of 8, bone around; `painted` are (mask, HU)."""
    chance = np.random.default_rng(7)
    hounsfield = np.where(
        head.inside, 34.0, np.where(head.ellipsoid((0, 0, 0), (75, 92, 73)), 900, -1000)
    )
    hounsfield[head.ventricles] = 8.0
    for mask, value in painted:
        hounsfield[mask] = value
    return Scan(
        voxels=(hounsfield + chance.normal(0, 4, hounsfield.shape)).astype(np.float32),
        grid=head.grid,
    )


def test_a_bleed_and_an_infarct_are_candidates_with_side_volume_and_density():
    head = Head(axial(), turned(8, 4))
    bleed, infarct = (
        head.ellipsoid((40, 10, 10), (9, 9, 9)),
        head.ellipsoid((-42, -20, 5), (14, 16, 14)),
    )
    found = odd_densities(
        ct_of(head, (bleed, 65.0), (infarct, 14.0)), head.inside, head.ventricles, frame=head.frame
    )
    assert [(region.density, region.left) for region in found] == [
        (Density.LOW, False), (Density.HIGH, True),
    ]  # fmt: skip
    dark, bright = found
    assert dark.volume_ml == pytest.approx(infarct.sum() * head.grid.voxel_ml, rel=0.2)
    assert bright.volume_ml == pytest.approx(bleed.sum() * head.grid.voxel_ml, rel=0.25)
    assert dark.mean_hu == pytest.approx(14, abs=3)
    assert bright.mean_hu == pytest.approx(65, abs=4)


def test_what_is_alike_on_both_sides_is_no_candidate():
    head = Head(axial())
    both = head.ellipsoid((40, 10, 10), (9, 9, 9)) | head.ellipsoid((-40, 10, 10), (9, 9, 9))
    assert odd_densities(ct_of(head), head.inside, head.ventricles, frame=head.frame) == ()
    scan = ct_of(head, (both, 62.0))
    assert odd_densities(scan, head.inside, head.ventricles, frame=head.frame) == ()


def test_half_a_head_has_no_plane():
    head = Head(axial())
    half = head.inside & (head.places[:, 0] > 20).reshape(head.grid.shape)
    quarter = half & (head.places[:, 1] > np.abs(head.places[:, 2]) * 0.5).reshape(head.grid.shape)
    with pytest.raises(InputError, match="unlike"):
        head_frame(quarter, head.grid, spacing_mm=1.0)


def test_a_speck_has_no_plane():
    head = Head(axial())
    with pytest.raises(InputError, match="too small"):
        head_frame(head.ellipsoid((0, 0, 0), (15, 15, 15)), head.grid, spacing_mm=1.0)
