"""Gantry tilt: against the function that was imaged, against dcm2niix, and back to the slices."""

import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread

from imaging.frames import read_headers
from imaging.geometry import Grid
from imaging.header import header_of
from imaging.read import load_volume
from imaging.seg import segmentation
from imaging.stack import Stack, Unusable, stacks_of
from imaging.tilt import mask_on_source, on_source, source_plane, squared
from tests.builders import ct_series, placed, report_on, save

SHAPE = (10, 64, 48)
GAP, PIXEL = 5.0, 0.8


def leaning(tilt_deg: float, *, across_deg: float = 0.0):
    """Affine of slices tilted about the patient's x axis while the table moves along z."""
    t = np.radians(tilt_deg)
    column, row = np.array([1.0, 0, 0]), np.array([0, np.cos(t), -np.sin(t)])
    normal = np.cross(column, row)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = column * PIXEL, row * PIXEL
    affine[:3, 2] = (
        normal * GAP - row * GAP * np.tan(t) + column * GAP * np.tan(np.radians(across_deg))
    )
    affine[:3, 3] = -20, -25, -30
    return affine


def imaged(points):
    """A ball with a slope in it: linear, so linear interpolation inside it is exact."""
    x, y, z = np.moveaxis(points, -1, 0)
    inside = x**2 + y**2 + (z + 5) ** 2 < 18**2
    return np.where(inside, 500 + 8 * y + 4 * z, -900), x**2 + y**2 + (z + 5) ** 2 < 16**2


def on_grid(grid: Grid):
    s, r, c = np.meshgrid(*map(np.arange, grid.shape), indexing="ij")
    indices = np.stack([s, r, c], axis=-1).reshape(-1, 3).astype(float)
    return imaged(grid.points_mm(indices).reshape(*grid.shape, 3))


def tilted(folder: Path, affine):
    grid = Grid(shape=SHAPE, affine=affine, frame_of_reference_uid="")
    voxels = on_grid(grid)[0].round()
    save(ct_series(SHAPE, affine, voxels=voxels, SliceThickness=str(GAP)), folder)
    (stack,) = stacks_of([h for path in folder.glob("*.dcm") for h in read_headers(path)])
    return stack


@pytest.mark.parametrize(("tilt", "across"), [(18.5, 0), (-18.5, 0), (7, 0), (12, -2), (0, 2)])
def test_values_are_where_they_were_in_the_patient(tmp_path, tilt, across):
    stack = tilted(tmp_path, leaning(tilt, across_deg=across))
    assert isinstance(stack, Stack)
    volume = load_volume(stack)
    assert volume.grid is stack.grid
    assert volume.source_grid is stack.source_grid
    axes = stack.grid.direction
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    assert stack.grid.spacing_mm == pytest.approx((GAP, PIXEL, PIXEL))
    expected, inside = on_grid(stack.grid)
    assert inside.sum() > 4000
    assert np.abs(volume.voxels - expected)[inside].max() < 0.6  # half a stored unit


def test_the_note_gives_the_angle_and_the_slices_stay_the_stored_ones(tmp_path):
    stack = tilted(tmp_path, leaning(18.5))
    assert [note.code for note in stack.notes] == ["TILT_CORRECTED"]
    assert "18.5 degrees" in stack.notes[0].text
    np.testing.assert_allclose(stack.source_grid.affine, leaning(18.5), atol=1e-4)
    assert stack.grid.shape[0] == len(stack.instances) == SHAPE[0]


def test_rounded_positions_of_a_short_stack_are_no_tilt():
    """0.03 mm over 4 mm are 0.4 degrees, and yet no slice is out of its place."""
    images = ct_series((8, 12, 10), placed("axial", (0.6, 0.5, 0.5)))
    for number, image in enumerate(images):
        x, y, z = image.ImagePositionPatient
        image.ImagePositionPatient = [x + 0.03 * (number / 7), y, z]
    (stack,) = stacks_of([header_of(image) for image in images])
    assert isinstance(stack, Stack)
    assert stack.source_grid is None
    assert stack.notes == ()


@pytest.mark.parametrize("tilt", [18.5, 7.0, 25.0, -18.5, -7.0])
def test_dcm2niix_agrees(tmp_path, tilt):
    program = shutil.which("dcm2niix")
    if program is None:
        pytest.skip("dcm2niix is not installed")
    stack = tilted(tmp_path, leaning(tilt))
    ours = load_volume(stack).voxels
    for path in tmp_path.glob("*.dcm"):
        ds = dcmread(path)
        ds.GantryDetectorTilt, ds.Manufacturer = str(tilt), "GE MEDICAL SYSTEMS"
        ds.save_as(path)
    subprocess.run([program, "-z", "n", "-f", "x", str(tmp_path)], check=True, capture_output=True)
    image = nib.load(tmp_path / "x_Tilt_1.nii")
    theirs = np.asanyarray(image.dataobj).T[:, ::-1]  # it stores rows from the bottom up
    assert theirs.shape == stack.grid.shape
    lps = np.diag([-1, -1, 1, 1]) @ image.affine
    last_row = lps @ [0, theirs.shape[1] - 1, 0, 1]
    # dcm2niix anchors its grid at the last row of the first slice: less than a pixel lies between,
    # but at negative angles, where that slice is shifted away from it. Ours is tested above.
    if tilt > 0:
        assert np.abs(theirs - ours).max() < 1
        assert np.abs(last_row[:3] - stack.grid.affine[:3, 3]).max() < PIXEL
    np.testing.assert_allclose(lps[:3, 2], stack.grid.affine[:3, 2], atol=1e-4)


@pytest.mark.parametrize("tilt", [18.5, -11.0])
def test_masks_come_back_to_the_stored_slices(tmp_path, tilt):
    stack = tilted(tmp_path, leaning(tilt))
    source = stack.source_grid
    back = mask_on_source(on_grid(stack.grid)[1], source, stack.grid)
    expected = on_grid(source)[1]
    assert back.shape == SHAPE
    assert back.sum() == pytest.approx(expected.sum(), rel=0.005)
    assert (back ^ expected).sum() < 0.03 * expected.sum()  # pixels cut by the edge of the ball
    plane = source_plane(load_volume(stack), 5)
    assert np.abs(plane - on_grid(source)[0][5])[on_grid(source)[1][5]].max() <= 0.51


def test_a_report_on_the_square_grid_becomes_a_seg_on_the_stored_slices(tmp_path):
    affine = leaning(18.5)
    stack = tilted(tmp_path, affine)
    images = [dcmread(header.path) for header in stack.instances]
    mask = on_grid(stack.grid)[1]
    report = on_source(report_on(images, [mask]), load_volume(stack))
    assert report.grid.shape == SHAPE
    assert mask.sum() * stack.grid.voxel_ml == pytest.approx(
        report.segments[0].mask.sum() * report.grid.voxel_ml, rel=0.01
    )
    seg = segmentation(report, images[0], wetread_version="0")
    positions = {tuple(header.image.position) for header in stack.instances}
    for frame in seg.PerFrameFunctionalGroupsSequence:
        place = tuple(frame.PlanePositionSequence[0].ImagePositionPatient)
        assert any(np.allclose(place, position, atol=1e-3) for position in positions)
    assert (seg.Rows, seg.Columns) == SHAPE[1:]


def test_a_stack_that_leans_too_far_is_refused(tmp_path):
    part = tilted(tmp_path, leaning(45))
    assert isinstance(part, Unusable)
    assert part.reason.code == "TILTED"
    assert "45.0 degrees" in part.reason.text


def test_the_square_grid_holds_every_stored_pixel():
    for affine in (leaning(20), leaning(-20), leaning(5, across_deg=30), leaning(0, across_deg=-8)):
        source = Grid(shape=SHAPE, affine=affine, frame_of_reference_uid="")
        target = squared(source)
        corners = np.array([[s, r, c] for s in (0, 9) for r in (0, 63) for c in (0, 47)], float)
        homogeneous = np.c_[source.points_mm(corners), np.ones(len(corners))].T
        found = (np.linalg.inv(target.affine) @ homogeneous)[2::-1].T
        assert (found >= -0.02).all()
        assert (found <= np.array(target.shape) - 0.98).all()
