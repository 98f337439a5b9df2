from pathlib import Path

import numpy as np
import pytest

from imaging.errors import PixelsUnreadable
from imaging.header import read_header
from imaging.pixels import plane, stored_plane
from tests.builders import ct_series, save

LOSSLESS = ("1", "1.99", "2", "5", "4.57", "4.70", "4.80", "4.90", "")


def one(tmp_path: Path, **header):
    return read_header(save(ct_series((3, 8, 8), **header), tmp_path)[0])


def test_rescale_is_applied(tmp_path: Path):
    header = one(tmp_path, RescaleSlope=2, RescaleIntercept=-5)
    np.testing.assert_array_equal(plane(header), stored_plane(header) * 2.0 - 5)


def test_padding_is_never_the_brightest(tmp_path: Path):
    voxels = np.zeros((3, 8, 8))
    voxels[0, 0, 0] = 1976  # stored 3000
    images = ct_series((3, 8, 8), voxels=voxels, PixelPaddingValue=3000)
    header = read_header(save(images, tmp_path)[0])
    assert plane(header).max() == 0


def test_cut_off_pixels_are_refused(tmp_path: Path):
    header = one(tmp_path)
    assert header.path is not None
    header.path.write_bytes(header.path.read_bytes()[:-20])
    with pytest.raises(PixelsUnreadable):
        plane(header)


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_lossless_syntaxes_decode_to_the_same_values(shared_data: Path, syntax):
    folder = shared_data / "transfer_syntax_ct1"
    uid = ".".join(filter(None, ("1.2.840.10008.1.2", syntax)))
    reference = stored_plane(read_header(folder / "ct1_1.2.840.10008.1.2.1.dcm"))
    decoded = stored_plane(read_header(folder / f"ct1_{uid}.dcm"))
    np.testing.assert_array_equal(decoded, reference)
