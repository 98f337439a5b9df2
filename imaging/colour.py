"""Colour images as they are shown. Colours are never measured (`imaging.pixels` refuses them)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_color_lut, convert_color_space

from imaging.errors import PixelsUnreadable
from imaging.frame_format import Stored
from imaging.header import InstanceHeader, read_dataset
from imaging.pixels import stored_plane

Rgb = NDArray[np.uint8]

_AS_RGB = ("RGB", "YBR_ICT", "YBR_RCT")  # JPEG 2000 decoders undo the latter two
_AS_YBR = ("YBR_FULL", "YBR_FULL_422")
_BYTE_BITS = 8


def is_grey(header: InstanceHeader) -> bool:
    """Whether an image is shades of grey, in which a window can be chosen."""
    return header.image.samples == 1 and header.image.photometric.startswith("MONOCHROME")


def colour_plane(header: InstanceHeader) -> Rgb:
    """Return a colour image as uint8 RGB, (row, column, sample); errors as `stored_plane`."""
    stored, photometric = stored_plane(header), header.image.photometric
    if photometric == "PALETTE COLOR":
        return _from_palette(stored, header)
    if photometric in _AS_RGB and stored.ndim > 2:  # noqa: PLR2004 - (row, column) is grey
        return _as_bytes(stored, header.image.bits_stored or _BYTE_BITS)
    if photometric in _AS_YBR and stored.dtype == np.uint8:
        return np.asarray(convert_color_space(stored, "YBR_FULL", "RGB"), np.uint8)
    msg = f"{photometric or 'unnamed'} pixels of {stored.dtype} are not shown in colour"
    raise PixelsUnreadable(msg)


def _from_palette(stored: Stored, header: InstanceHeader) -> Rgb:
    assert header.path is not None
    ds = read_dataset(header.path)
    try:
        colours: NDArray[Any] = apply_color_lut(stored, ds)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        msg = f"the palette cannot be read: {error}"
        raise PixelsUnreadable(msg) from error
    return _as_bytes(colours[..., :3], colours.dtype.itemsize * _BYTE_BITS)


def _as_bytes(colours: NDArray[Any], bits: int) -> Rgb:
    return (colours >> max(bits - _BYTE_BITS, 0)).astype(np.uint8)
