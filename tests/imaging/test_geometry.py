import numpy as np
import pytest

from imaging.geometry import Grid, axis_codes
from tests.builders import placed


def grid(plane="axial", spacing=(3.0, 1.0, 2.0), **changes):
    values = {"shape": (4, 5, 6), "affine": placed(plane, spacing), "frame_of_reference_uid": "1.2"}
    return Grid(**(values | changes))


@pytest.mark.parametrize(
    ("plane", "codes"), [("axial", "SPL"), ("sagittal", "RIP"), ("coronal", "PIL")]
)
def test_axis_codes_name_where_indices_run(plane, codes):
    assert axis_codes(grid(plane)) == codes


def test_points_and_sizes():
    axial = grid()
    assert axial.spacing_mm == (3.0, 1.0, 2.0)
    assert axial.extent_mm == (12.0, 5.0, 12.0)
    assert axial.voxel_ml == pytest.approx(0.006)
    origin = np.array(axial.origin_mm)
    point = axial.points_mm(np.array([[1.0, 2.0, 3.0]]))[0]
    np.testing.assert_allclose(point - origin, (3 * 2.0, 2 * 1.0, 1 * 3.0))


def test_sameness_needs_place_shape_and_frame_of_reference():
    assert grid().same_as(grid())
    assert not grid().same_as(grid(frame_of_reference_uid="1.3"))
    assert not grid().same_as(grid(shape=(4, 5, 7)))
    shifted = grid().affine.copy()
    shifted[0, 3] += 0.01
    assert not grid().same_as(grid(affine=shifted))
