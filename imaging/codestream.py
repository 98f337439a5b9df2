"""Read the size that a compressed frame declares for itself, before any decoder meets it.

A forged size makes decoders take gigabytes, or write beyond the frame. So the few bytes that hold
it are read here and must agree with Rows, Columns and Samples per Pixel.
"""

import re
import struct
from dataclasses import dataclass
from itertools import pairwise

from imaging.encodings import Coding
from imaging.errors import PixelsUnreadable
from imaging.frame_format import FrameFormat

_SIZ_START = b"\xff\x4f\xff\x51"
_TILE_PART, _TILE_PART_HEAD = b"\xff\x90", 14
_JP2_HEADER_LIMIT = 4096
_MAX_TILES = 4096
_MAX_COMPONENTS = 4
# Start of frame markers that are read: baseline, extended, progressive, lossless; JPEG-LS.
_FRAME_MARKERS = {Coding.JPEG: (0xC0, 0xC1, 0xC2, 0xC3), Coding.JPEG_LS: (0xF7,)}
_ALL_FRAME_MARKERS = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}
_MARK, _START_OF_SCAN, _END_OF_IMAGE = 0xFF, 0xDA, 0xD9
_SCAN, _MAX_SCANS = b"\xff\xda", 64  # each goes over the whole frame; ten are many
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length
_END = re.compile(rb"\xff\xd9[\x00\xff]*\Z")  # End of image, and padding
_RLE_HEADER = 64
_RLE_SEGMENTS = 15
_PACKBITS_BEST = 64  # 128 bytes come from at least 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What a codestream says it holds; `precision` in bits for each sample."""

    rows: int
    columns: int
    samples: int
    precision: int


def checked(data: bytes, form: FrameFormat, coding: Coding) -> int:
    """Return the bits of a sample that the codestream codes, after all its sizes were checked.

    Raises
    ------
    PixelsUnreadable
        The codestream is not of its kind, or is of another size than the header says.
    """
    try:
        if coding is Coding.RLE:
            _check_rle(data, form)
            return form.bits_stored
        if coding is Coding.DEFLATED_FRAME:
            return form.bits_stored
        declared = _siz(data) if coding is Coding.JPEG_2000 else _sof(data, coding)
    except struct.error as error:
        msg = f"the {coding.value} codestream ends within its header"
        raise PixelsUnreadable(msg) from error
    expected = (form.rows, form.columns, form.samples)
    if (declared.rows, declared.columns, declared.samples) != expected:
        msg = (
            f"the {coding.value} codestream is {declared.rows} x {declared.columns} x "
            f"{declared.samples}, the header says {form.rows} x {form.columns} x {form.samples}"
        )
        raise PixelsUnreadable(msg)
    if not 1 < declared.precision <= form.bits_allocated:
        msg = (
            f"the {coding.value} codestream holds {declared.precision} bits, "
            f"the header allocates {form.bits_allocated}"
        )
        raise PixelsUnreadable(msg)
    if form.shift and declared.precision > form.bits_stored:
        msg = f"the {coding.value} codestream does not tell which {form.bits_stored} bits are meant"
        raise PixelsUnreadable(msg)
    if coding is not Coding.JPEG_2000 and not _END.search(data):
        # JPEG decoders fill up what is missing with grey, a JPEG-LS decoder took 13 s to notice
        msg = f"the {coding.value} codestream is cut off, or something is behind its end"
        raise PixelsUnreadable(msg)
    # Only JPEG 2000 has signed samples of its own, and senders that forget to say so.
    return (
        min(declared.precision, form.bits_stored)
        if coding is Coding.JPEG_2000
        else form.bits_stored
    )


def _sof(data: bytes, coding: Coding) -> Declared:
    """Start of frame segment (ISO 10918-1 B.2.2, ISO 14495-1 C.2.2)."""
    if data[:2] != b"\xff\xd8":
        msg = f"the {coding.value} codestream has no start"
        raise PixelsUnreadable(msg)
    at = 2
    while True:
        mark, marker = struct.unpack_from(">BB", data, at)
        if mark != _MARK or marker in {_START_OF_SCAN, _END_OF_IMAGE}:
            msg = f"the {coding.value} codestream has no frame header"
            raise PixelsUnreadable(msg)
        at += 1 if marker == _MARK else 2
        if marker == _MARK or marker in _ALONE:
            continue
        if marker in _ALL_FRAME_MARKERS:
            break
        (length,) = struct.unpack_from(">H", data, at)
        at += max(int(length), 2)
    if marker not in _FRAME_MARKERS[coding]:
        msg = f"a {coding.value} codestream of process 0x{marker:02x} is not read"
        raise PixelsUnreadable(msg)
    if data.count(_SCAN) > _MAX_SCANS:
        msg = f"the {coding.value} codestream has more than {_MAX_SCANS} scans"
        raise PixelsUnreadable(msg)
    precision, rows, columns, samples = struct.unpack_from(">BHHB", data, at + 2)
    return Declared(rows=rows, columns=columns, samples=samples, precision=precision)


def _siz(data: bytes) -> Declared:
    """SIZ segment (ISO 15444-1 A.5.1); a JP2 wrapper before it is against PS3.5 but exists."""
    start = data.find(_SIZ_START, 0, _JP2_HEADER_LIMIT)
    if start < 0:
        msg = "the JPEG 2000 codestream has no start"
        raise PixelsUnreadable(msg)
    x1, y1, x0, y0, tile_x, tile_y, tile_x0, tile_y0, samples = struct.unpack_from(
        ">8IH", data, start + 8
    )
    if not (x0 < x1 and y0 < y1 and tile_x and tile_y and samples <= _MAX_COMPONENTS):
        msg = "the JPEG 2000 codestream declares an impossible size"
        raise PixelsUnreadable(msg)
    tiles = -((tile_x0 - x1) // tile_x) * -((tile_y0 - y1) // tile_y)
    if tiles > _MAX_TILES:
        msg = f"the JPEG 2000 codestream declares more than {_MAX_TILES} tiles"
        raise PixelsUnreadable(msg)
    if tiles > 1 and (missing := tiles - _tiles_among(data, start)) > 0:
        msg = f"{missing} of {tiles} tiles of the JPEG 2000 codestream are missing"
        raise PixelsUnreadable(msg)
    parts = [struct.unpack_from("BBB", data, start + 42 + 3 * i) for i in range(samples)]
    if any(part[1:] != (1, 1) for part in parts) or len({part[0] for part in parts}) != 1:
        msg = "the JPEG 2000 codestream has samples of different size or depth"
        raise PixelsUnreadable(msg)
    precision = (parts[0][0] & 0x7F) + 1
    return Declared(rows=y1 - y0, columns=x1 - x0, samples=samples, precision=precision)


def _tiles_among(data: bytes, start: int) -> int:
    """Count the tiles of which there is a part: decoders leave the others black (A.4.2)."""
    at, found = start + 2, set()
    while data[at : at + 2] != _TILE_PART:
        (length,) = struct.unpack_from(">H", data, at + 2)
        at += 2 + length
    while data[at : at + 2] == _TILE_PART:
        tile, length = struct.unpack_from(">HI", data, at + 4)
        found.add(tile)
        at += length if length >= _TILE_PART_HEAD else len(data)  # zero: up to the end
    return len(found)


def _check_rle(data: bytes, form: FrameFormat) -> None:
    """RLE header (PS3.5 G.5): one segment for each byte of each sample."""
    count, *offsets = struct.unpack_from(f"<{1 + _RLE_SEGMENTS}I", data)
    expected = form.samples * form.dtype.itemsize
    if count != expected:
        msg = f"the RLE frame has {count} segments, not {expected}"
        raise PixelsUnreadable(msg)
    starts = [*offsets[:count], len(data)]
    shortest = min(end - start for start, end in pairwise(starts))
    if starts[0] != _RLE_HEADER or shortest <= 0:
        msg = "the RLE segments lie outside the frame"
        raise PixelsUnreadable(msg)
    if shortest * _PACKBITS_BEST < form.rows * form.columns:
        msg = "an RLE segment is too short for the frame"
        raise PixelsUnreadable(msg)
