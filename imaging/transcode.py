"""Instances and frames in Explicit VR Little Endian without compression (PS3.5 A.2)."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

from imaging.decode_process import DecodeLimits
from imaging.encodings import Coding, encoding_of
from imaging.errors import MalformedInstance, PixelsUnreadable
from imaging.frame_format import Stored
from imaging.frame_reader import FrameReader
from imaging.header import InstanceHeader, read_header

_BYTE_BITS = 8
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_AS_CODED = ("YBR_ICT", "YBR_RCT")  # undone by their decoder


def plain_frames(path: Path, numbers: Iterable[int]) -> Iterator[bytes]:
    """Yield the samples of frames, counted from 0.

    Raises
    ------
    PixelsUnreadable
        The pixel data are absent, damaged or in an encoding that is not read.
    """
    header = read_header(path)
    with FrameReader(DecodeLimits()) as frames:
        for number in numbers:
            yield _bytes(frames.stored(replace(header, frame=number)), header)


def plain_instance(path: Path) -> bytes:
    """Return a Part 10 file with the same data set; errors as `plain_frames`."""
    header = read_header(path)
    encoding = encoding_of(header.transfer_syntax_uid)
    try:
        ds = dcmread(path)
    except (EOFError, ValueError, NotImplementedError, AttributeError) as error:
        msg = f"the data set cannot be read: {error}"
        raise MalformedInstance(msg) from error
    if any(keyword in ds for keyword in _PIXELS) and (
        encoding.coding is not Coding.NATIVE or encoding.big_endian
    ):
        _decompress(ds, header)
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return _written(ds)


def _decompress(ds: Dataset, header: InstanceHeader) -> None:
    assert header.path is not None
    planes = plain_frames(header.path, range(max(header.image.frames, 1)))
    keyword = next(each for each in _PIXELS if each in ds)
    data = b"".join(planes)
    setattr(ds, keyword, data + b"\0" * (len(data) % 2))
    ds[keyword].is_undefined_length = False
    if keyword == "PixelData":
        ds[keyword].VR = "OB" if (header.image.bits_allocated or 0) <= _BYTE_BITS else "OW"
    if header.image.photometric in _AS_CODED:
        ds.PhotometricInterpretation = "RGB"
    if header.image.photometric == "YBR_FULL_422":
        ds.PhotometricInterpretation = "YBR_FULL"


def _bytes(stored: Stored, header: InstanceHeader) -> bytes:
    if header.image.planar and header.image.samples > 1:
        stored = np.moveaxis(stored, -1, 0)
    return stored.tobytes()


def _written(ds: Dataset) -> bytes:
    buffer = BytesIO()
    try:
        dcmwrite(buffer, ds, enforce_file_format=True)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        msg = f"the data set cannot be written in another encoding: {error}"
        raise PixelsUnreadable(msg) from error
    return buffer.getvalue()
