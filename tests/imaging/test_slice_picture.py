import numpy as np

from imaging.header import header_of
from imaging.slice_picture import grey, slice_picture
from tests.builders import mr_series

COLOUR = (255, 0, 0)


def test_window_spacing_and_outline():
    (image, *_) = mr_series((2, 20, 10))
    plane = np.zeros((20, 10), np.float32)
    plane[:, 5:] = 100
    mask = np.zeros((20, 10), bool)
    mask[4:16, 2:8] = True
    picture = np.asarray(
        slice_picture(
            grey(plane, (50, 100), photometric="MONOCHROME2"),
            header_of(image),
            spacing_mm=(1.0, 4.0),  # 20 mm high, 40 mm wide
            longest_side=400,
            regions=[(mask, COLOUR)],
        )
    )
    assert picture.shape == (200, 400, 3)
    assert tuple(picture[20, 120]) == (0, 0, 0)
    assert tuple(picture[20, 380]) == (255, 255, 255)
    assert tuple(picture[100, 80]) == COLOUR  # where the mask's left side is
    assert tuple(picture[100, 120]) == (0, 0, 0)  # within it


def test_low_values_are_white_in_monochrome1():
    plane = np.array([[0, 25, 100]], np.float32)
    assert np.asarray(grey(plane, (50, 100), photometric="MONOCHROME1")).tolist() == [[255, 191, 0]]
