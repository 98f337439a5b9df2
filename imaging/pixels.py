"""From stored pixels to numbers: decoding and the modality transform (PS3.3 C.11.1)."""

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.pixels.utils import pixel_array

from imaging.errors import InputError, PixelsUnreadable
from imaging.header import InstanceHeader
from imaging.volume import Voxels

Stored = NDArray[np.integer]


def stored_plane(header: InstanceHeader) -> Stored:
    """Return the stored values of a single-frame instance, (row, column).

    Raises
    ------
    PixelsUnreadable
        The pixel data are absent, damaged or of another size than the header says.
    """
    if header.path is None:
        msg = "the instance has no file"
        raise PixelsUnreadable(msg)
    try:
        ds = dcmread(header.path)
        plane: Stored = pixel_array(ds)
    except (ValueError, TypeError, AttributeError, RuntimeError, EOFError, KeyError,
            NotImplementedError, OverflowError, MemoryError, InputError) as error:  # fmt: skip
        msg = f"the pixel data cannot be decoded: {error}"
        raise PixelsUnreadable(msg) from error
    if plane.shape != (header.image.rows, header.image.columns):
        msg = f"the pixel data are {plane.shape}, not rows x columns"
        raise PixelsUnreadable(msg)
    return plane


def plane(header: InstanceHeader) -> Voxels:
    """Return one slice in real-world values, float32, (row, column).

    Padding becomes the lowest real value of the slice, so that it is never taken for tissue.
    """
    stored = stored_plane(header)
    slope, intercept = header.image.rescale or (1.0, 0.0)
    values = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    padded = _padding(header, stored)
    if padded is not None and padded.any() and not padded.all():
        values[padded] = values[~padded].min()
    return values


def _padding(header: InstanceHeader, stored: Stored) -> NDArray[np.bool_] | None:
    value, limit = header.image.padding, header.image.padding_limit
    if value is None:
        return None
    low, high = sorted((value, value if limit is None else limit))
    mask: NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return mask
