"""Stored values of single images in every container, and what they become."""

import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmwrite
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels import pixel_array
from pydicom.pixels.processing import apply_modality_lut
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from imaging.errors import InputError, PixelsUnreadable
from imaging.frames import read_headers
from imaging.header import read_header
from imaging.pixels import plane, stored_plane
from tests.builders import ct_series, save
from tests.imaging.encoded import ENCODERS, EXPLICIT, J2K_LOSSLESS, RLE, one, picture, written

LOSSLESS = ("1", "1.99", "2", "5", "4.57", "4.70", "4.80", "4.90", "")


def image(tmp_path: Path, **header):
    return read_header(save(ct_series((3, 8, 8), **header), tmp_path)[0])


# Values


def test_rescale_is_applied(tmp_path: Path):
    header = image(tmp_path, RescaleSlope=2, RescaleIntercept=-5)
    np.testing.assert_array_equal(plane(header), stored_plane(header) * 2.0 - 5)


def test_integers_of_32_bits_keep_their_difference(tmp_path: Path):
    stored = np.full((4, 4), 2_000_000_000, "<u4")
    stored[0] += 1
    ds = one(EXPLICIT, stored.tobytes(), stored, 32, RescaleIntercept=-2_000_000_000)
    assert np.unique(plane(written(ds, tmp_path / "x.dcm"))).tolist() == [0, 1]


def test_padding_is_never_the_brightest(tmp_path: Path):
    voxels = np.zeros((3, 8, 8))
    voxels[0, 0, 0] = 1976  # stored 3000
    images = ct_series((3, 8, 8), voxels=voxels, PixelPaddingValue=3000)
    assert plane(read_header(save(images, tmp_path)[0])).max() == 0


def test_padding_written_without_its_sign_is_padding(tmp_path: Path):
    stored = np.zeros((4, 4), "<i2")
    stored[0] = -2000
    ds = one(EXPLICIT, stored.tobytes(), stored, 16, RescaleIntercept=0)
    ds.add_new("PixelPaddingValue", "US", 63536)
    assert plane(written(ds, tmp_path / "x.dcm")).min() == 0


def test_monochrome1_values_are_the_same_values(tmp_path: Path):
    stored = picture(12, signed=False)
    ds = one(EXPLICIT, stored.tobytes(), stored, 12, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(plane(written(ds, tmp_path / "x.dcm")), stored - 1024.0)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_modality_lookup_table_is_applied(tmp_path: Path, bits):
    stored = np.arange(64, dtype="<u2").reshape(8, 8)
    ds = one(EXPLICIT, stored.tobytes(), stored, 12)
    del ds.RescaleSlope, ds.RescaleIntercept
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [40, 10, bits])
    item.ModalityLUTType = "OD"
    entries = (np.arange(40)[::-1] * (5 if bits == 8 else 999)).astype("<u2")
    item.add_new("LUTData", "US", entries.tolist())
    ds.ModalityLUTSequence = [item]
    header = written(ds, tmp_path / "x.dcm")
    np.testing.assert_array_equal(plane(header), apply_modality_lut(stored, ds))
    item.LUTData = entries.tolist()[:7]
    with pytest.raises(PixelsUnreadable, match="lookup table"):
        plane(written(ds, tmp_path / "y.dcm"))


@pytest.mark.parametrize(("keyword", "kind"), [("Float", "<f4"), ("DoubleFloat", "<f8")])
def test_floating_point_pixels(tmp_path: Path, keyword, kind):
    stored = (np.arange(16).reshape(4, 4) / 7).astype(kind)
    ds = one(EXPLICIT, b"", np.zeros((4, 4), "<u2"), 16, RescaleIntercept=0)
    del ds.PixelData, ds.BitsStored, ds.HighBit, ds.PixelRepresentation
    ds.BitsAllocated = stored.dtype.itemsize * 8
    setattr(ds, f"{keyword}PixelData", stored.tobytes())
    header = written(ds, tmp_path / "x.dcm")
    np.testing.assert_array_equal(stored_plane(header), stored)
    np.testing.assert_allclose(plane(header), stored, rtol=1e-6)


@pytest.mark.parametrize(("keyword", "kind"), [("Float", "<f4"), ("DoubleFloat", "<f8")])
def test_padding_of_floating_point_pixels(tmp_path: Path, keyword, kind):
    """Neither padding nor what is not a number is taken for tissue."""
    stored = np.array([[1, 2, 3, 1e6], [2e6, np.nan, np.inf, -np.inf]], kind)
    ds = one(EXPLICIT, b"", np.zeros((2, 4), "<u2"), 16, RescaleIntercept=0)
    del ds.PixelData, ds.BitsStored, ds.HighBit, ds.PixelRepresentation
    ds.BitsAllocated = stored.dtype.itemsize * 8
    setattr(ds, f"{keyword}PixelData", stored.tobytes())
    setattr(ds, f"{keyword}PixelPaddingValue", 1e6)
    setattr(ds, f"{keyword}PixelPaddingRangeLimit", 3e6)
    found = plane(written(ds, tmp_path / "x.dcm"))
    np.testing.assert_array_equal(found, [[1, 2, 3, 1], [1, 1, 1, 1]])


def test_a_range_of_padding(tmp_path: Path):
    stored = np.arange(16, dtype="<i2").reshape(4, 4)
    ds = one(EXPLICIT, stored.tobytes(), stored, 16, RescaleIntercept=0)
    ds.add_new("PixelPaddingValue", "SS", 15)
    ds.add_new("PixelPaddingRangeLimit", "SS", 12)
    assert np.unique(plane(written(ds, tmp_path / "x.dcm"))).tolist() == list(range(12))


@pytest.mark.parametrize("slope", ["0", "nan"])
def test_a_rescale_that_gives_no_values_is_refused(tmp_path: Path, slope):
    header = image(tmp_path)
    broken = replace(header, image=replace(header.image, rescale=(float(slope), 0.0)))
    with pytest.raises(PixelsUnreadable, match="rescale"):
        plane(broken)


# Containers


@pytest.mark.parametrize("bits", [8, 12, 16, 32])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, EXPLICIT, ExplicitVRBigEndian])
def test_native_pixels(tmp_path: Path, bits, signed, syntax):
    stored = picture(bits, signed=signed, shape=(7, 5))
    ds = one(EXPLICIT, b"", stored, bits)
    big = syntax == ExplicitVRBigEndian
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    data = stored.astype(stored.dtype.newbyteorder(">")) if big else stored
    ds.PixelData = data.tobytes() + b"\0" * (stored.nbytes % 2)
    ds["PixelData"].VR = "OB" if bits == 8 and not big else "OW"
    path = tmp_path / "x.dcm"
    if big and bits == 8:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").byteswap().tobytes()
    dcmwrite(path, ds, little_endian=not big, implicit_vr=syntax == ImplicitVRLittleEndian,
             enforce_file_format=True)  # fmt: skip
    found = stored_plane(read_header(path))
    np.testing.assert_array_equal(found, pixel_array(path))
    np.testing.assert_array_equal(found, stored)


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_lossless_syntaxes_decode_to_the_same_values(shared_data: Path, syntax):
    folder = shared_data / "transfer_syntax_ct1"
    uid = ".".join(filter(None, ("1.2.840.10008.1.2", syntax)))
    reference = stored_plane(read_header(folder / "ct1_1.2.840.10008.1.2.1.dcm"))
    decoded = stored_plane(read_header(folder / f"ct1_{uid}.dcm"))
    np.testing.assert_array_equal(decoded, reference)


def test_an_overlay_in_the_unused_bits_is_not_part_of_the_value(tmp_path: Path):
    stored = picture(12, signed=False)
    ds = one(EXPLICIT, (stored | 0x8000).tobytes(), stored, 12)
    np.testing.assert_array_equal(stored_plane(written(ds, tmp_path / "x.dcm")), stored)


FRAMES = [picture(12, signed=False, seed=seed) for seed in range(4)]


def multiframe(syntax: str) -> Dataset:
    ds = one(syntax, bytes(8), FRAMES[0], 12, NumberOfFrames=len(FRAMES))
    frames = [ENCODERS[syntax](frame, 12) for frame in FRAMES] if syntax in ENCODERS else []
    frames = [frame + b"\0" * (len(frame) % 2) for frame in frames]
    if syntax == EXPLICIT:
        ds.PixelData = b"".join(frame.tobytes() for frame in FRAMES)
    else:
        ds.PixelData = encapsulate(frames)
    return ds


def expect_frames(ds: Dataset, tmp_path: Path) -> None:
    header = written(ds, tmp_path / "x.dcm")
    for number in (2, 0, 3, 1):
        np.testing.assert_array_equal(stored_plane(replace(header, frame=number)), FRAMES[number])
    with pytest.raises(PixelsUnreadable, match="beyond"):
        stored_plane(replace(header, frame=len(FRAMES)))


@pytest.mark.parametrize("syntax", [EXPLICIT, RLE, J2K_LOSSLESS])
def test_one_frame_of_many(tmp_path: Path, syntax):
    expect_frames(multiframe(syntax), tmp_path)


@pytest.mark.parametrize("table", [True, False])
def test_frames_in_several_fragments(tmp_path: Path, table):
    ds = multiframe(J2K_LOSSLESS)
    frames = [ENCODERS[J2K_LOSSLESS](frame, 12) for frame in FRAMES]
    ds.PixelData = encapsulate(frames, fragments_per_frame=3, has_bot=table)
    expect_frames(ds, tmp_path)


def test_an_extended_offset_table(tmp_path: Path):
    ds = multiframe(RLE)
    frames = [ENCODERS[RLE](frame, 12) for frame in FRAMES]
    ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(
        frames
    )
    expect_frames(ds, tmp_path)


def test_a_fragmented_file_without_offset_table(shared_data: Path):
    path = shared_data / "transfer_syntax_ct1" / "jpeg_baseline_fragmented_no_bot.dcm"
    header = read_header(path)
    first, second = (stored_plane(replace(header, frame=number)) for number in (0, 1))
    assert (first.max(), second.max()) == (2223, 2197)


# Refusals


def test_cut_off_pixels_are_refused(tmp_path: Path):
    header = image(tmp_path)
    assert header.path is not None
    header.path.write_bytes(header.path.read_bytes()[:-20])
    with pytest.raises(PixelsUnreadable, match="20 bytes too early"):
        plane(header)


@pytest.mark.parametrize(
    "lie",
    [
        {"Rows": 9},
        {"Columns": 4},
        {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7},
        {"BitsStored": 17, "HighBit": 16},
        {"HighBit": 7},
        {"HighBit": 16},
        {"NumberOfFrames": 2**31 - 1},
        {"Rows": 65535, "Columns": 65535},
        {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"},
        {"SamplesPerPixel": 2},
        {"BitsAllocated": 12},
    ],
)
def test_a_header_that_contradicts_the_pixels_is_refused(tmp_path: Path, lie):
    header = image(tmp_path, **lie)
    with pytest.raises(PixelsUnreadable):
        stored_plane(header)


def test_no_pixels_and_unknown_syntaxes_are_refused(tmp_path: Path):
    header = image(tmp_path, PixelData=None)
    with pytest.raises(PixelsUnreadable, match="no pixel data"):
        stored_plane(header)
    with pytest.raises(PixelsUnreadable, match=r"1\.2\.840\.10008\.1\.2\.4\.100"):
        stored_plane(replace(header, transfer_syntax_uid="1.2.840.10008.1.2.4.100"))


def test_a_native_frame_called_compressed_is_refused(tmp_path: Path):
    header = replace(image(tmp_path), transfer_syntax_uid=RLE)
    with pytest.raises(PixelsUnreadable, match="fragments"):
        stored_plane(header)


def test_malformed_files_give_a_reason_and_nothing_else(shared_data: Path):
    """Whatever cannot be read says so; what can be read has the header's size."""
    for path in sorted((shared_data / "malformed").rglob("*.dcm")):
        try:
            headers = read_headers(path)
            found = stored_plane(headers[0])
        except InputError:
            continue
        else:
            assert found.shape[:2] == (headers[0].image.rows, headers[0].image.columns)


def test_a_deflated_bomb_takes_no_memory(tmp_path: Path):
    """1 GiB of zeros in 1 MB: neither header nor pixels inflate it."""
    header = image(tmp_path)
    assert header.path is not None
    raw = header.path.read_bytes()
    deflated = zlib.compressobj(9, wbits=-15)
    meta = 144 + int.from_bytes(raw[140:144], "little")
    assert header.pixels_at is not None
    body = deflated.compress(raw[meta : header.pixels_at + 8] + (1 << 30).to_bytes(4, "little"))
    body += b"".join(deflated.compress(bytes(1 << 20)) for _ in range(256)) + deflated.flush()
    uid = DeflatedExplicitVRLittleEndian.encode()
    start = raw[:meta].replace(b"1.2.840.10008.1.2.1\0", uid)
    start = start.replace(b"UI\x14\0" + uid, b"UI\x16\0" + uid)
    grown = (meta + len(uid) - 20 - 144).to_bytes(4, "little")
    header.path.write_bytes(start[:140] + grown + start[144:] + body)
    tracemalloc.start()
    bomb = read_header(header.path)
    with pytest.raises(PixelsUnreadable, match="larger than"):
        stored_plane(bomb)
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()


# Colour


@pytest.mark.parametrize(
    "name",
    ["TestPattern_RGB", "TestPattern_Palette", "TestPattern_Palette_16",
     "TestPattern_JPEG-LS-Lossless", "TestPattern_JPEG-LS-NearLossless",
     "TestPattern_JPEG-Lossless_RGB", "TestPattern_JPEG-Baseline_YBRFull",
     "TestPattern_JPEG-Baseline_YBR422"],
)  # fmt: skip
def test_colour_is_decoded_but_not_measured(shared_data: Path, name):
    """In the space that the header names; palettes as their indices; against pydicom's decoders."""
    path = shared_data / "transfer_syntax_colour" / f"{name}.dcm"
    header = read_header(path)
    np.testing.assert_array_equal(stored_plane(header), pixel_array(path, raw=True))
    with pytest.raises(PixelsUnreadable, match="colours"):
        plane(header)


def test_colour_by_plane_and_in_rle(tmp_path: Path):
    stored = np.random.default_rng(3).integers(0, 256, (6, 5, 3)).astype("u1")
    planar = np.moveaxis(stored, -1, 0)
    ds = one(EXPLICIT, planar.tobytes(), stored, 8, PlanarConfiguration=1)
    np.testing.assert_array_equal(stored_plane(written(ds, tmp_path / "p.dcm")), stored)
    ds = one(EXPLICIT, stored.tobytes(), stored, 8)
    ds.compress(UID(RLE), generate_instance_uid=False)
    np.testing.assert_array_equal(stored_plane(written(ds, tmp_path / "r.dcm")), stored)
