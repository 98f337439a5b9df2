"""One frame's codestream to its stored values. Runs in a worker process (`decode_worker`).

Nothing but numpy and the decoders is imported here, so that a worker starts quickly and small.
"""

import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

import imagecodecs
import numpy as np

from imaging.codestream import checked
from imaging.encodings import Coding, encoding_of
from imaging.errors import PixelsUnreadable
from imaging.frame_format import FrameFormat, Stored, fitted, unpacked

_YBR = ("YBR_FULL", "YBR_FULL_422")
_BYTE = 8
_CONTAINERS = (Coding.RLE, Coding.DEFLATED_FRAME)


def decode(data: bytes, form: FrameFormat) -> Stored:
    """Return the stored values of one compressed frame, little endian, of `form.shape`.

    Colour comes in the space that the photometric interpretation names, but JPEG 2000's own colour
    transforms (YBR_ICT, YBR_RCT) are undone: then it is RGB.

    Raises
    ------
    PixelsUnreadable
        The codestream contradicts the header, or the decoder refuses it.
    """
    form.check()
    coding = encoding_of(form.transfer_syntax_uid).coding
    bits = checked(data, form, coding)
    # A codec of so many bits as are stored knows no place in the allocated ones.
    shift = form.shift if coding in _CONTAINERS else 0
    try:
        samples = _DECODERS[coding](data, form)
    except MemoryError as error:
        msg = f"decoding the {coding.value} data takes more memory than it may"
        raise PixelsUnreadable(msg) from error
    except (RuntimeError, ValueError, TypeError, zlib.error) as error:
        msg = f"the {coding.value} data are damaged: {error}"
        raise PixelsUnreadable(msg) from error
    if samples.shape != form.shape or samples.dtype.itemsize > form.dtype.itemsize:
        msg = f"the {coding.value} data are {samples.shape} {samples.dtype}, not {form.shape}"
        raise PixelsUnreadable(msg)
    if samples.dtype.itemsize == form.dtype.itemsize:
        samples = samples.view(form.dtype)
    return fitted(samples.astype(form.dtype, copy=False), bits, shift)


def _jpeg(data: bytes, form: FrameFormat) -> Stored:
    if form.samples == 1:
        return np.asarray(imagecodecs.jpeg8_decode(data))
    # The photometric interpretation names the colour space, not the markers of the JPEG file
    # format, which senders omit or copy; the values are left as they were coded (PS3.5 8.2.1).
    space = "YCBCR" if form.photometric in _YBR else "RGB"
    return np.asarray(imagecodecs.jpeg8_decode(data, colorspace=space, outcolorspace=space))


def _jpeg_ls(data: bytes, _: FrameFormat) -> Stored:
    return np.asarray(imagecodecs.jpegls_decode(data))


def _jpeg_2000(data: bytes, _: FrameFormat) -> Stored:
    return np.asarray(imagecodecs.jpeg2k_decode(data, numthreads=1))


def _rle(data: bytes, form: FrameFormat) -> Stored:
    plain = imagecodecs.dicomrle_decode(data, form.dtype)
    if form.samples == 1:
        return _shaped(plain, form, form.shape)
    planes = _shaped(plain, form, (form.samples, form.rows, form.columns))
    return np.ascontiguousarray(np.moveaxis(planes, 0, -1))


def _deflated_frame(data: bytes, form: FrameFormat) -> Stored:
    packed = form.bits_allocated == 1
    size = -(-form.nbytes // _BYTE) if packed else form.nbytes
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = stream.decompress(data, size + 2)  # one byte of padding, and one too many
    if len(plain) > size + 1:
        msg = f"the frame holds more than {size} bytes"
        raise ValueError(msg)
    if packed and len(plain) >= size:
        return unpacked(np.frombuffer(plain, np.uint8), 0, form)
    return _shaped(plain, form, form.shape)


def _shaped(plain: bytes | bytearray, form: FrameFormat, shape: tuple[int, ...]) -> Stored:
    if not form.nbytes <= len(plain) <= form.nbytes + 1:
        msg = f"the frame holds {len(plain)} bytes, not {form.nbytes}"
        raise ValueError(msg)
    return np.frombuffer(plain, form.dtype, count=form.nbytes // form.dtype.itemsize).reshape(shape)


_DECODERS: Mapping[Coding, Callable[[bytes, FrameFormat], Stored]] = MappingProxyType(
    {
        Coding.RLE: _rle,
        Coding.JPEG: _jpeg,
        Coding.JPEG_LS: _jpeg_ls,
        Coding.JPEG_2000: _jpeg_2000,
        Coding.DEFLATED_FRAME: _deflated_frame,
    }
)
