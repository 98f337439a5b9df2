import numpy as np
import pytest

from imaging.outline import outlines, signed_area


def test_one_pixel_is_its_four_corners() -> None:
    plane = np.zeros((4, 5), dtype=bool)
    plane[2, 3] = True
    (outline,) = outlines(plane)
    assert outline.tolist() == [[3, 2], [4, 2], [4, 3], [3, 3], [3, 2]]


def test_hole_runs_the_other_way_and_comes_last() -> None:
    plane = np.ones((7, 8), dtype=bool)
    plane[2:4, 3:6] = False
    assert [signed_area(outline) for outline in outlines(plane)] == [56, -6]


def test_pixels_that_touch_at_a_corner_are_apart() -> None:
    plane = np.array([[True, False], [False, True]])
    assert [signed_area(outline) for outline in outlines(plane)] == [1, 1]


def test_largest_part_comes_first() -> None:
    plane = np.zeros((6, 9), dtype=bool)
    plane[0, 0] = plane[2:5, 4:8] = True
    assert [signed_area(outline) for outline in outlines(plane)] == [12, 1]


@pytest.mark.parametrize("seed", range(5))
def test_enclosed_area_is_the_number_of_pixels(seed: int) -> None:
    plane = np.random.default_rng(seed).random((31, 23)) > 0.4
    found = outlines(plane)
    assert sum(map(signed_area, found)) == plane.sum()
    assert all((outline[0] == outline[-1]).all() for outline in found)


def test_nothing_has_no_outline() -> None:
    assert outlines(np.zeros((3, 3), dtype=bool)) == ()
