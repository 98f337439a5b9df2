"""Pixel data that lie: each is refused with a reason, or read as what it surely is."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset

from imaging.decode import decode
from imaging.decode_process import DecodeLimits
from imaging.errors import PixelsUnreadable
from imaging.frame_reader import FrameReader
from imaging.header import InstanceHeader
from tests.imaging.encoded import (
    ENCODERS,
    EXPLICIT,
    J2K_LOSSLESS,
    JPEG_LOSSLESS,
    JPEG_LS,
    RLE,
    form_of,
    one,
    picture,
    written,
)

FRAMES = [picture(12, signed=False, seed=seed) for seed in range(2)]
PROGRESSIVE = "1.2.840.10008.1.2.4.55"
CODED = {
    syntax: [data + b"\0" * (len(data) % 2) for data in (encode(f, 12) for f in FRAMES)]
    for syntax, encode in ENCODERS.items()
}


@pytest.fixture(scope="module")
def read():
    """Read stored values with one worker for all tests."""
    with FrameReader(DecodeLimits()) as frames:
        yield lambda header: frames.stored(header).copy()


def item(data: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(data)) + data


def holding(syntax: str, *fragments: bytes, table: bytes = b"", **header) -> Dataset:
    """An image whose pixel data are exactly these fragments."""
    ds = one(syntax, b"\0\0", FRAMES[0], 12)
    for keyword, value in header.items():
        setattr(ds, keyword, value)
    ds.PixelData = b"".join(map(item, (table, *fragments)))
    return ds


LIES: dict[str, Callable[[str, bytes, bytes], Dataset]] = {
    "half a fragment": lambda s, a, b: holding(s, a[: len(a) // 4 * 2]),
    "an empty fragment": lambda s, a, b: holding(s, b""),
    "no fragment": lambda s, a, b: holding(s),
    "fewer frames than said": lambda s, a, b: holding(s, a, b, NumberOfFrames=3),
    "countless frames": lambda s, a, b: holding(s, a, NumberOfFrames=2**31 - 1),
    "two codestreams in one frame": holding,
    "an offset beyond the data": lambda s, a, b: holding(
        s, a, b, b[:8], table=struct.pack("<2I", 0, 99_999_999), NumberOfFrames=2),
    "one offset twice": lambda s, a, b: holding(s, a, b, b[:8], table=bytes(8), NumberOfFrames=2),
    "fewer rows": lambda s, a, b: holding(s, a, Rows=FRAMES[0].shape[0] - 1),
    "more columns": lambda s, a, b: holding(s, a, Columns=65535, Rows=65535),
    "no rows": lambda s, a, b: holding(s, a, Rows=0),
    "three samples": lambda s, a, b: holding(
        s, a, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0),
    "fewer bits": lambda s, a, b: holding(s, a, BitsAllocated=8, BitsStored=8, HighBit=7),
}  # fmt: skip


@pytest.mark.parametrize("syntax", CODED)
@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused_with_a_reason(tmp_path: Path, read, syntax, lie):
    header = written(LIES[lie](syntax, *CODED[syntax]), tmp_path / "x.dcm")
    with pytest.raises(PixelsUnreadable) as caught:
        read(header)
    assert len(str(caught.value)) > 10
    assert "died" not in str(caught.value)


def icon() -> Dataset:
    """Dark, and in front of the pixel data."""
    ds = Dataset()
    ds.Rows = ds.Columns = 8
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation, ds.SamplesPerPixel = 7, 0, 1
    ds.PhotometricInterpretation, ds.PixelData = "MONOCHROME2", bytes(64)
    ds["PixelData"].VR = "OW"
    return ds


def split(data: bytes) -> list[bytes]:
    return [data[at : at + 2] for at in range(0, len(data), 2)]


ODDITIES: dict[str, Callable[[str, bytes, bytes], Dataset]] = {
    "an icon in front": lambda s, a, b: holding(s, a, IconImageSequence=[icon()]),
    "fragments of two bytes": lambda s, a, b: holding(s, *split(a)),
    "countless empty fragments": lambda s, a, b: holding(s, *[b""] * 20_000, a),
    "an extended offset table that lies": lambda s, a, b: holding(
        s, a, ExtendedOffsetTable=struct.pack("<Q", 2**63),
        ExtendedOffsetTableLengths=struct.pack("<Q", 2**62)),
}  # fmt: skip


def test_an_icon_in_front_of_native_pixels(tmp_path: Path, read):
    ds = one(EXPLICIT, FRAMES[0].tobytes(), FRAMES[0], 12, IconImageSequence=[icon()])
    np.testing.assert_array_equal(read(written(ds, tmp_path / "x.dcm")), FRAMES[0])


@pytest.mark.parametrize("syntax", CODED)
@pytest.mark.parametrize("oddity", ODDITIES)
def test_an_oddity_that_hides_nothing_is_read(tmp_path: Path, read, syntax, oddity):
    ds = ODDITIES[oddity](syntax, *CODED[syntax])
    np.testing.assert_array_equal(read(written(ds, tmp_path / "x.dcm")), FRAMES[0])


@pytest.mark.parametrize("syntax", [RLE, JPEG_LS, JPEG_LOSSLESS])
def test_garbage_behind_a_frame_is_refused(tmp_path: Path, read, syntax):
    header = written(holding(syntax, CODED[syntax][0] + b"garbage!" * 90), tmp_path / "x.dcm")
    with pytest.raises(PixelsUnreadable, match=r"behind its end|damaged"):
        read(header)


def test_countless_scans_never_meet_a_decoder():
    """Each is ten bytes, and makes a decoder go over the whole frame."""
    stored = np.random.default_rng(1).integers(0, 255, (64, 64)).astype("u1")
    stream = io.BytesIO()
    Image.fromarray(stored).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00\x00"
    assert decode(data, form_of(stored, PROGRESSIVE, 8)).shape == stored.shape
    with pytest.raises(PixelsUnreadable, match="scans"):
        decode(data[:-2] + scan * 2000 + b"\xff\xd9", form_of(stored, PROGRESSIVE, 8))


def test_missing_tiles_are_not_black():
    stored = picture(8, signed=False, shape=(128, 128))
    stream = io.BytesIO()
    Image.fromarray(stored).save(stream, "JPEG2000", tile_size=(64, 64), no_jp2=True)
    data, form = stream.getvalue(), form_of(stored, J2K_LOSSLESS, 8)
    np.testing.assert_array_equal(decode(data, form), stored)
    second = data.index(b"\xff\x90", data.index(b"\xff\x90") + 2)
    with pytest.raises(PixelsUnreadable, match="3 of 4 tiles"):
        decode(data[:second] + b"\xff\xd9", form)


@pytest.mark.parametrize(
    "change",
    [
        {"Rows": 0},
        {"SamplesPerPixel": 65535},
        {"BitsAllocated": 0},
        {"BitsStored": 0},
        {"NumberOfFrames": 2},
        {"PixelData": b""},
        {"PixelData": FRAMES[0].tobytes() + bytes(10_000)},
        {"FloatPixelData": bytes(4 * FRAMES[0].size)},  # and pixel data of integers behind it
    ],
)
def test_native_lies_are_refused(tmp_path: Path, read, change):
    ds = one(EXPLICIT, FRAMES[0].tobytes(), FRAMES[0], 12)
    for keyword, value in change.items():
        setattr(ds, keyword, value)
    header: InstanceHeader = written(ds, tmp_path / "x.dcm")
    with pytest.raises(PixelsUnreadable):
        read(header)
