"""How samples lie in their bytes: single bits, high bits, shared colours; against pydicom."""

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmwrite
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array
from pydicom.uid import UID, ExplicitVRBigEndian

from imaging.errors import PixelsUnreadable
from imaging.header import read_header
from imaging.pixels import stored_plane
from tests.imaging.encoded import DEFLATED_FRAME, ENCODERS, EXPLICIT, RLE, one, picture, written

BITS = np.random.default_rng(5).integers(0, 2, (3, 7, 5)).astype("u1")


def packed(frames) -> bytes:
    return np.packbits(frames.ravel(), bitorder="little").tobytes()


def of_one_bit(data: bytes, **header):
    ds = one(EXPLICIT, data, BITS[0], 1, NumberOfFrames=len(BITS), BitsAllocated=1, **header)
    ds["PixelData"].VR = "OB"
    return ds


def test_pixels_of_one_bit(tmp_path: Path):
    """Frames follow one another within a byte (PS3.5 8.1.1)."""
    header = written(of_one_bit(packed(BITS)), tmp_path / "x.dcm")
    for number, frame in enumerate(BITS):
        np.testing.assert_array_equal(stored_plane(replace(header, frame=number)), frame)
    np.testing.assert_array_equal(pixel_array(header.path), BITS)


def test_pixels_of_one_bit_in_big_endian_words(tmp_path: Path):
    ds = of_one_bit(packed(BITS) + b"\0\0")
    ds.PixelData = np.frombuffer(ds.PixelData, "<u2").byteswap().tobytes()
    ds["PixelData"].VR, ds.file_meta.TransferSyntaxUID = "OW", ExplicitVRBigEndian
    dcmwrite(tmp_path / "x.dcm", ds, enforce_file_format=True)
    header = read_header(tmp_path / "x.dcm")
    for number, frame in enumerate(BITS):
        np.testing.assert_array_equal(stored_plane(replace(header, frame=number)), frame)


def test_deflated_frames_of_one_bit(tmp_path: Path):
    """Each frame begins with a byte of its own (PS3.5 A.4.12)."""
    ds = of_one_bit(b"")
    deflaters = [zlib.compressobj(wbits=-15) for _ in BITS]
    ds.PixelData = encapsulate(
        [z.compress(packed(f)) + z.flush() for z, f in zip(deflaters, BITS, strict=True)]
    )
    ds.preamble, ds["PixelData"].is_undefined_length = bytes(128), True
    ds.file_meta.TransferSyntaxUID = UID(DEFLATED_FRAME)
    dcmwrite(tmp_path / "x.dcm", ds, force_encoding=True, implicit_vr=False, little_endian=True)
    header = read_header(tmp_path / "x.dcm")
    for number, frame in enumerate(BITS):
        np.testing.assert_array_equal(stored_plane(replace(header, frame=number)), frame)


@pytest.mark.parametrize(
    "name", ["seg_sr_rt/pydicom/liver_1frame.dcm", "seg_sr_rt/highdicom/seg_image_ct_binary.dcm"]
)
def test_pixels_of_one_bit_in_real_files(shared_data: Path, name):
    header, theirs = read_header(shared_data / name), pixel_array(shared_data / name)
    for number, frame in enumerate(theirs if theirs.ndim > 2 else theirs[None]):
        np.testing.assert_array_equal(stored_plane(replace(header, frame=number)), frame)


@pytest.mark.parametrize("lie", [{"NumberOfFrames": 9}, {"SamplesPerPixel": 3}, {"Rows": 0}])
def test_lies_about_pixels_of_one_bit_are_refused(tmp_path: Path, lie):
    ds = of_one_bit(packed(BITS))
    for keyword, value in lie.items():
        setattr(ds, keyword, value)
    header = written(ds, tmp_path / "x.dcm")
    with pytest.raises(PixelsUnreadable):
        stored_plane(header)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("syntax", [EXPLICIT, RLE])
def test_samples_in_the_high_bits_are_brought_down(tmp_path: Path, signed, syntax):
    """As old senders store 12 bits below high bit 15."""
    stored = picture(12, signed=signed)
    high = np.left_shift(stored, 4)
    data = high.tobytes() if syntax == EXPLICIT else ENCODERS[syntax](high, 16)
    header = written(one(syntax, data, stored, 12, HighBit=15), tmp_path / "x.dcm")
    np.testing.assert_array_equal(stored_plane(header), stored)


def test_a_high_bit_that_the_samples_contradict_is_refused(tmp_path: Path):
    stored = picture(12, signed=False)
    ds = one(EXPLICIT, stored.tobytes(), stored, 12, HighBit=15)
    with pytest.raises(PixelsUnreadable, match="something below"):
        stored_plane(written(ds, tmp_path / "x.dcm"))


def shared_colours(rows: int, columns: int) -> tuple[np.ndarray, bytes]:
    """Whole colours, and the same as Y Y Cb Cr for every two pixels."""
    random = np.random.default_rng(6)
    whole = random.integers(0, 256, (rows, columns, 3)).astype("u1")
    whole[:, 1::2, 1:] = whole[:, ::2, 1:]
    pairs = whole.reshape(rows, columns // 2, 6)[..., [0, 3, 1, 2]]
    return whole, pairs.tobytes()


@pytest.mark.parametrize("frames", [1, 3])
def test_uncompressed_ybr_full_422(tmp_path: Path, frames):
    whole, data = shared_colours(5, 6)
    changes = {"PhotometricInterpretation": "YBR_FULL_422", "NumberOfFrames": frames}
    header = written(one(EXPLICIT, data * frames, whole, 8, **changes), tmp_path / "x.dcm")
    for number in range(frames):
        np.testing.assert_array_equal(stored_plane(replace(header, frame=number)), whole)
    theirs = pixel_array(header.path, raw=True)
    np.testing.assert_array_equal(theirs if frames == 1 else theirs[1], whole)


def test_whole_colours_under_the_name_of_shared_ones(tmp_path: Path):
    """As decompressors write them that forget to rename the photometric interpretation."""
    whole, _ = shared_colours(5, 6)
    ds = one(EXPLICIT, whole.tobytes(), whole, 8, PhotometricInterpretation="YBR_FULL_422")
    np.testing.assert_array_equal(stored_plane(written(ds, tmp_path / "x.dcm")), whole)


def test_shared_colours_of_odd_columns_are_refused(tmp_path: Path):
    whole, data = shared_colours(4, 6)
    ds = one(EXPLICIT, data, whole, 8, PhotometricInterpretation="YBR_FULL_422", Columns=5)
    with pytest.raises(PixelsUnreadable, match="the header asks for"):
        stored_plane(written(ds, tmp_path / "x.dcm"))
