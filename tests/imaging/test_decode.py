"""Codecs, each against what was encoded and against a second decoder; and hostile codestreams."""

import shutil
import struct
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path

import gdcm
import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import pixel_array

from imaging.decode import decode
from imaging.decode_process import DecodeLimits, DecodeProcess
from imaging.errors import PixelsUnreadable
from imaging.header import read_header
from imaging.pixels import stored_plane
from tests.imaging.encoded import (
    BASELINE,
    DEFLATED_FRAME,
    ENCODERS,
    EXTENDED,
    HTJ2K_LOSSLESS,
    J2K,
    J2K_LOSSLESS,
    JPEG_LOSSLESS,
    JPEG_LS,
    JPEG_LS_NEAR,
    RLE,
    form_of,
    jpeg_2000,
    one,
    picture,
    unsigned,
    written,
)

DEPTHS = [(bits, signed) for bits in (8, 10, 12, 13, 16) for signed in (False, True)]
DEEP = [(20, False), (24, True)]
CASES = [
    *((syntax, bits, signed) for syntax in ENCODERS for bits, signed in DEPTHS),
    *((J2K_LOSSLESS, bits, signed) for bits, signed in DEEP),
    (RLE, 32, False),
    (RLE, 32, True),
]
CT1 = [
    ("4.50", "dcmdjpeg"),
    ("4.51", "dcmdjpeg"),
    ("4.53", "dcmdjpeg"),
    ("4.55", "dcmdjpeg"),
    ("4.57", "dcmdjpeg"),
    ("4.70", "dcmdjpeg"),
    ("4.80", "dcmdjpls"),
    ("4.81", "dcmdjpls"),
    ("5", "dcmdrle"),
]


@pytest.mark.parametrize(("syntax", "bits", "signed"), CASES)
def test_lossless_gives_back_what_was_encoded(syntax, bits, signed):
    stored = picture(bits, signed=signed)
    found = decode(ENCODERS[syntax](stored, bits), form_of(stored, syntax, bits))
    assert found.dtype == stored.dtype
    np.testing.assert_array_equal(found, stored)


@pytest.mark.parametrize(("syntax", "bits", "signed"), CASES)
def test_a_second_decoder_agrees(syntax, bits, signed, tmp_path):
    if syntax == JPEG_LOSSLESS and bits == 13:
        pytest.skip("GDCM has no lossless JPEG of 13 bits")
    stored = picture(bits, signed=signed)
    ds = one(syntax, ENCODERS[syntax](stored, bits), stored, bits)
    plugin = {JPEG_LOSSLESS: "gdcm", JPEG_LS: "pyjpegls"}.get(syntax, "pylibjpeg")
    header = written(ds, tmp_path / "one.dcm")
    theirs = pixel_array(header.path, decoding_plugin=plugin)
    (frame,) = generate_frames(ds.PixelData, number_of_frames=1)
    found = decode(frame, form_of(stored, syntax, bits))
    # pydicom leaves the sign of JPEG-LS samples of fewer bits than allocated to its caller
    np.testing.assert_array_equal(unsigned(found, bits), unsigned(theirs, bits))


@pytest.mark.parametrize(("suffix", "program"), CT1)
def test_dcmtk_agrees_on_real_files(shared_data: Path, tmp_path: Path, suffix, program):
    if shutil.which(program) is None:
        pytest.skip(f"{program} of DCMTK is not installed")
    path = shared_data / "transfer_syntax_ct1" / f"ct1_1.2.840.10008.1.2.{suffix}.dcm"
    subprocess.run([program, path, tmp_path / "plain.dcm"], check=True, capture_output=True)
    theirs = dcmread(tmp_path / "plain.dcm").pixel_array
    np.testing.assert_array_equal(stored_plane(read_header(path)), theirs)


@pytest.mark.parametrize("suffix", ["4.51", "4.57", "4.80", "4.81", "4.90", "4.91"])
def test_gdcm_agrees_on_real_files(shared_data: Path, suffix):
    path = shared_data / "transfer_syntax_ct1" / f"ct1_1.2.840.10008.1.2.{suffix}.dcm"
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    theirs = reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape")
    assert stored_plane(read_header(path)).tobytes() == theirs


@pytest.mark.parametrize("suffix", ["4.90", "4.91"])
def test_openjpeg_agrees_on_real_files(shared_data: Path, suffix):
    path = shared_data / "transfer_syntax_ct1" / f"ct1_1.2.840.10008.1.2.{suffix}.dcm"
    theirs = pixel_array(path, decoding_plugin="pylibjpeg")
    np.testing.assert_array_equal(stored_plane(read_header(path)), theirs)


@pytest.mark.parametrize(("bits", "signed"), [(8, False), (12, False), (16, False), (12, True)])
def test_high_throughput_jpeg_2000(bits, signed):
    stored = picture(bits, signed=signed)
    data = bytes(imagecodecs.htj2k_encode(stored, reversible=True))
    np.testing.assert_array_equal(decode(data, form_of(stored, HTJ2K_LOSSLESS, bits)), stored)
    np.testing.assert_array_equal(imagecodecs.htj2k_decode(data), stored)  # OpenJPH


def deflated(stored):
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(stored.tobytes()) + deflater.flush()


def forced(ds, path):
    """The header of an image in an encoding that pydicom does not know, after writing it."""
    ds.preamble, ds["PixelData"].is_undefined_length = bytes(128), True
    dcmwrite(path, ds, force_encoding=True, implicit_vr=False, little_endian=True)
    return read_header(path)


@pytest.mark.parametrize(("bits", "signed"), [(8, False), (12, True), (16, False)])
def test_deflated_frames_give_back_what_was_encoded(bits, signed, tmp_path):
    frames = [picture(bits, signed=signed, seed=seed) for seed in range(3)]
    ds = one(DEFLATED_FRAME, b"\0\0", frames[0], bits, NumberOfFrames=len(frames))
    ds.PixelData = encapsulate([deflated(frame) for frame in frames])
    header = forced(ds, tmp_path / "frames.dcm")
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(stored_plane(replace(header, frame=number)), frame)


@pytest.mark.parametrize("spare_rows", [-1, 1, 1000])
def test_a_deflated_frame_of_another_size_is_refused(spare_rows, tmp_path):
    stored = picture(16, signed=False)
    other = np.zeros((stored.shape[0] + spare_rows, stored.shape[1]), stored.dtype)
    header = forced(one(DEFLATED_FRAME, deflated(other), stored, 16), tmp_path / "one.dcm")
    with pytest.raises(PixelsUnreadable, match="the frame holds"):
        stored_plane(header)


@pytest.mark.parametrize("near", [1, 3])
def test_near_lossless_stays_within_its_bound(near):
    stored = picture(12, signed=False)
    found = decode(
        bytes(imagecodecs.jpegls_encode(stored, near)), form_of(stored, JPEG_LS_NEAR, 12)
    )
    apart = np.abs(found.astype(int) - stored)
    assert 0 < apart.max() <= near


def test_lossy_jpeg_2000_and_extended_jpeg_agree_with_a_second_decoder(tmp_path):
    stored = picture(12, signed=False)
    lossy = jpeg_2000(stored, 12, reversible=False, level=60)
    header = written(one(J2K, lossy, stored, 12), tmp_path / "j2k.dcm")
    theirs = pixel_array(header.path, decoding_plugin="pylibjpeg")
    np.testing.assert_array_equal(decode(lossy, form_of(stored, J2K, 12)), theirs)
    extended = bytes(imagecodecs.jpeg8_encode(stored, 95, bitspersample=12))
    found = decode(extended, form_of(stored, EXTENDED, 12)).astype(int)
    assert np.median(np.abs(found - stored)) < 40


def test_samples_beyond_bits_stored_are_cut(tmp_path):
    stored = picture(16, signed=False)
    found = decode(ENCODERS[JPEG_LS](stored, 16), form_of(stored, JPEG_LS, 12))
    np.testing.assert_array_equal(found, stored & 0xFFF)


# Codestreams that lie


def forged(data: bytes, syntax: str, rows: int, columns: int) -> bytes:
    """The codestream with another size in its header."""
    if syntax == RLE:
        return struct.pack("<I", 9) + data[4:]
    if syntax in {J2K, J2K_LOSSLESS}:
        return data[:8] + struct.pack(">II", columns, rows) + data[16:]
    marker = {JPEG_LS: b"\xff\xf7", JPEG_LOSSLESS: b"\xff\xc3", BASELINE: b"\xff\xc0"}[syntax]
    at = data.index(marker) + 5
    return data[:at] + struct.pack(">HH", rows, columns) + data[at + 4 :]


@pytest.mark.parametrize("syntax", list(ENCODERS))
def test_a_forged_size_never_meets_a_decoder(syntax):
    stored = picture(12, signed=False)
    data = forged(ENCODERS[syntax](stored, 12), syntax, 65500, 65500)
    with pytest.raises(PixelsUnreadable, match=r"65500|segments|tiles"):
        decode(data, form_of(stored, syntax, 12))


@pytest.mark.parametrize("syntax", list(ENCODERS))
def test_damaged_codestreams_are_refused_or_decoded_but_never_kill(syntax):
    """Through the worker: some damage cannot be seen, but none may reach this process."""
    stored = picture(12, signed=False)
    data, form = ENCODERS[syntax](stored, 12), form_of(stored, syntax, 12)
    random = np.random.default_rng(7)
    decoder = DecodeProcess(DecodeLimits())
    refused = 0
    try:
        for trial in range(24):
            broken = bytearray(data)
            for at in random.integers(0, min(len(data), 200 if trial % 2 else 1 << 30), 4):
                broken[at] = random.integers(256)
            try:
                assert decoder.decode(bytes(broken), form).shape == form.shape
            except PixelsUnreadable:
                refused += 1
        for cut in (data[: len(data) // 8], data[: len(data) * 7 // 8], data[:-20], b""):
            with pytest.raises(PixelsUnreadable):
                decoder.decode(cut, form)
        np.testing.assert_array_equal(decoder.decode(data, form), stored)
    finally:
        decoder.close()
    assert refused


def test_a_long_rle_segment_does_not_overrun():
    stored = picture(16, signed=False)
    data = ENCODERS[RLE](stored, 16)
    with pytest.raises(PixelsUnreadable):
        decode(data + b"\x81\xff" * 5000, form_of(stored[:10], RLE, 16))


def test_decoding_is_stopped_when_it_takes_too_long():
    stored = picture(16, signed=False, shape=(1500, 1500))
    decoder = DecodeProcess(DecodeLimits(seconds=0))
    with pytest.raises(PixelsUnreadable, match="longer than 0 s"):
        decoder.decode(jpeg_2000(stored, 16), form_of(stored, J2K_LOSSLESS, 16))
    decoder.close()


def test_decoding_is_stopped_when_it_takes_too_much_memory():
    stored = picture(16, signed=False, shape=(1500, 1500))
    decoder = DecodeProcess(DecodeLimits(memory_bytes=8 << 20))
    with pytest.raises(PixelsUnreadable, match=r"memory|damaged|died"):
        decoder.decode(jpeg_2000(stored, 16), form_of(stored, J2K_LOSSLESS, 16))
    decoder.close()


def test_a_worker_that_dies_is_replaced():
    stored = picture(12, signed=True)
    data, form = ENCODERS[JPEG_LS](stored, 12), form_of(stored, JPEG_LS, 12)
    decoder = DecodeProcess(DecodeLimits())
    decoder.decode(data, form)
    assert decoder._process is not None
    decoder._process.kill()
    with pytest.raises(PixelsUnreadable, match="died"):
        decoder.decode(data, form)
    np.testing.assert_array_equal(decoder.decode(data, form), stored)
    decoder.close()


def test_a_worker_may_not_open_or_write_files():
    decoder = DecodeProcess(DecodeLimits())
    stored = picture(8, signed=False)
    decoder.decode(ENCODERS[RLE](stored, 8), form_of(stored, RLE, 8))
    assert decoder._process is not None
    limits = Path(f"/proc/{decoder._process.pid}/limits").read_text()
    decoder.close()
    allowed = {line[:26].strip(): line[26:47].strip() for line in limits.splitlines()}
    assert allowed["Max file size"] == "0"
    assert allowed["Max core file size"] == "0"
    assert int(allowed["Max address space"]) < 4 << 30
