"""From stored values to numbers: padding and the modality transform (PS3.3 C.11.1).

MONOCHROME1 changes nothing here: it says how a value is shown, not what it means.
"""

import numpy as np
from numpy.typing import NDArray

from imaging.decode_process import DecodeLimits
from imaging.errors import PixelsUnreadable
from imaging.frame_format import Stored
from imaging.frame_reader import FrameReader
from imaging.header import InstanceHeader
from imaging.image import Image
from imaging.volume import Voxels

_EXACT_IN_FLOAT32 = 2  # bytes of an integer


def stored_plane(header: InstanceHeader) -> Stored:
    """Return the stored values of one image, (row, column) or (row, column, sample).

    Raises
    ------
    PixelsUnreadable
        The pixel data are absent, damaged or other than the header says.
    """
    with FrameReader(DecodeLimits()) as frames:
        return frames.stored(header).copy()


def plane(header: InstanceHeader) -> Voxels:
    """Return one slice in real-world values, float32, (row, column); errors as `stored_plane`."""
    stored = stored_plane(header)
    values = np.empty(stored.shape, np.float32)
    rescale(stored, header.image, values)
    return values


def rescale(stored: Stored, image: Image, values: Voxels) -> None:
    """Write the real-world values of a slice into `values`, float32, (row, column).

    Padding becomes the lowest real value of the slice, so that it is never taken for tissue.

    Raises
    ------
    PixelsUnreadable
        The image is in colour, its rescale is not a number or its modality lookup table is broken.
    """
    if image.samples != 1 or not image.photometric.startswith("MONOCHROME"):
        msg = f"{image.photometric or 'unnamed'} pixels are colours, not measured values"
        raise PixelsUnreadable(msg)
    if image.modality_lut is not None and stored.dtype.kind != "f":
        _look_up(stored, image, values)
    else:
        _transform(stored, image, values)
    padded = _padding(image, stored)
    _require_mapped(stored, image, padded)
    if padded is not None and padded.any() and not padded.all():
        values[padded] = values[~padded].min()


def _require_mapped(stored: Stored, image: Image, padded: NDArray[np.bool_] | None) -> None:
    """Refuse samples for which a real world value map does not hold."""
    if image.mapped is None:
        return
    beyond = (stored < image.mapped[0]) | (stored > image.mapped[1])
    if np.any(beyond if padded is None else beyond & ~padded):
        low, high = image.mapped
        msg = f"stored values beyond {low:g} to {high:g} are not mapped to {image.unit}"
        raise PixelsUnreadable(msg)


def _transform(stored: Stored, image: Image, values: Voxels) -> None:
    slope, intercept = image.rescale or (1.0, 0.0)
    if not (np.isfinite(slope) and np.isfinite(intercept) and slope):
        msg = f"rescale slope {slope:g} and intercept {intercept:g} give no values"
        raise PixelsUnreadable(msg)
    if stored.dtype.kind == "f" or stored.dtype.itemsize > _EXACT_IN_FLOAT32:
        values[...] = stored.astype(np.float64) * slope + intercept
        return
    values[...] = stored  # faster first than within the arithmetic
    if slope != 1:
        values *= np.float32(slope)
    if intercept:
        values += np.float32(intercept)


def _look_up(stored: Stored, image: Image, values: Voxels) -> None:
    assert image.modality_lut is not None
    if not image.modality_lut.table:
        msg = "the modality lookup table cannot be read"
        raise PixelsUnreadable(msg)
    values[...] = image.modality_lut.apply(stored)


def _padding(image: Image, stored: Stored) -> NDArray[np.bool_] | None:
    if stored.dtype.kind == "f":
        return _float_padding(image, stored)
    if image.padding is None:
        return None
    ends = (image.padding, image.padding if image.padding_limit is None else image.padding_limit)
    low, high = sorted(_as_stored(int(end), image) for end in ends)
    mask: NDArray[np.bool_] = stored == low if low == high else (stored >= low) & (stored <= high)
    return mask


def _float_padding(image: Image, stored: Stored) -> NDArray[np.bool_]:
    """Infinities and what is not a number are no values either (PS3.3 C.7.6.24, C.7.6.25)."""
    mask: NDArray[np.bool_] = ~np.isfinite(stored)
    if image.padding is None:
        return mask
    other = image.padding if image.padding_limit is None else image.padding_limit
    low, high = (stored.dtype.type(end) for end in sorted((image.padding, other)))
    mask |= (stored >= low) & (stored <= high)
    return mask


def _as_stored(value: int, image: Image) -> int:
    """Senders write the padding value with the wrong sign: 63536 for -2000 of 16 bits."""
    bits = image.bits_allocated or 0
    value &= (1 << bits) - 1
    return value - (1 << bits) if image.signed and value >> (bits - 1) else value
