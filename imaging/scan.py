"""Walk the elements of an encoded data set without decoding values: where each one lies.

Finds truncation, impossible lengths and bottomless nesting before any parser meets them, and tells
where the pixel data lie, so that a file need not be parsed again to read them (PS3.5 section 7).
"""

import struct
import zlib
from dataclasses import dataclass
from functools import cache

from pydicom._dicom_dict import DicomDictionary
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from imaging.errors import MalformedInstance

PIXEL_DATA = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_LONG_VR = frozenset(b"OB OW OF OD OL OV SQ UC UN UR UT SV UV".split())
_SHORT_VR = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_MAX_DEPTH = 32
_MAX_INFLATED = 1 << 30
_TAG_AND_LENGTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What an instance may be at most; `element_bytes` is of any element but the pixel data.

    `frames` and `decoded_bytes` are what its header declares.
    """

    depth: int = 32
    element_bytes: int = 1 << 30
    frames: int = 1_000_000
    decoded_bytes: int = 64 << 30


STANDARD = Bounds()


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes of one value: `offset` from the start of the data set; `length` without padding items.

    `fragments` holds (offset, length) of each encapsulated fragment, the offset table first.
    """

    offset: int
    length: int
    fragments: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the top-level elements of a data set lie."""

    elements: dict[int, Extent]
    header_length: int
    pixels: Extent | None


def inflate(data: bytes, limit: int = _MAX_INFLATED) -> bytes:
    """Return the inflated data set (PS3.5 A.5), at most `limit` bytes."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = stream.decompress(data, limit)
    except zlib.error as error:
        msg = f"the deflated data set is damaged: {error}"
        raise MalformedInstance(msg) from error
    if stream.unconsumed_tail:
        msg = f"the deflated data set is larger than {limit} bytes"
        raise MalformedInstance(msg)
    return plain


def scan(data: bytes | memoryview, transfer_syntax_uid: str, bounds: Bounds = STANDARD) -> Layout:
    """Return the `Layout` of an encoded data set (no file meta; inflated if it was deflated).

    Raises
    ------
    MalformedInstance
        An element ends beyond the data, a VR or an item is not one, or it is out of bounds.
    """
    return _Walk(bytes(data), transfer_syntax_uid, bounds).run()


@cache
def _sequences() -> frozenset[int]:
    return frozenset(tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ")


@dataclass(frozen=True, slots=True)
class _Level:
    """An open sequence or item; `end` is where it must end, if its length was said."""

    is_sequence: bool
    implicit: bool
    end: int | None


class _Walk:
    """One pass over the bytes; `levels` holds the open sequences and items."""

    def __init__(self, data: bytes, transfer_syntax_uid: str, bounds: Bounds) -> None:
        if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
            data = inflate(data)
        self.data, self.size, self.position = data, len(data), 0
        order = ">" if transfer_syntax_uid == ExplicitVRBigEndian else "<"
        self.tag = struct.Struct(order + "HH")
        self.short = struct.Struct(order + "H")
        self.long = struct.Struct(order + "I")
        self.implicit = transfer_syntax_uid == ImplicitVRLittleEndian
        self.bounds = bounds
        self.levels: list[_Level] = []
        self.elements: dict[int, Extent] = {}
        self.pixels: Extent | None = None
        self.header_length = self.size

    def run(self) -> Layout:
        while True:
            self._close_ended()
            if self.position >= self.size and not self.levels:
                break
            if self.size - self.position < _TAG_AND_LENGTH:
                if not self.levels and self.pixels and not any(self.data[self.position :]):
                    break  # zero padding behind the pixel data: seen from real senders
                msg = f"the data set ends inside an element at byte {self.position}"
                raise MalformedInstance(msg)
            group, element = self.tag.unpack_from(self.data, self.position)
            self._step(group << 16 | element)
        return Layout(self.elements, self.header_length, self.pixels)

    def _step(self, tag: int) -> None:
        if self.levels and self.levels[-1].is_sequence:
            self._item(tag)
        elif self.levels and tag == _ITEM_END:
            self.levels.pop()
            self.position += _TAG_AND_LENGTH
        else:
            self._element(tag)

    def _item(self, tag: int) -> None:
        (length,) = self.long.unpack_from(self.data, self.position + 4)
        self.position += _TAG_AND_LENGTH
        if tag == _SEQUENCE_END:
            self.levels.pop()
        elif tag != _ITEM:
            msg = f"a sequence holds ({tag >> 16:04x},{tag & 0xFFFF:04x}) where an item must be"
            raise MalformedInstance(msg)
        else:
            self._open(tag, length, is_sequence=False, implicit=self.levels[-1].implicit)

    def _element(self, tag: int) -> None:
        start = self.position
        implicit = self.levels[-1].implicit if self.levels else self.implicit
        vr, length = self._vr_and_length(tag, implicit=implicit)
        value = self.position
        top, is_pixels = not self.levels, tag in PIXEL_DATA
        if top and is_pixels:
            self.header_length = min(self.header_length, start)
        extent = Extent(value, length)
        if length == _UNDEFINED and top and is_pixels:
            extent = self._fragments(value)
        elif length == _UNDEFINED or vr == b"SQ" or (implicit and tag in _sequences()):
            self._open(tag, length, is_sequence=True, implicit=implicit or vr == b"UN")
        else:
            self._skip(tag, length)
        if top:
            self.elements[tag] = extent
            self.pixels = extent if is_pixels else self.pixels

    def _vr_and_length(self, tag: int, *, implicit: bool) -> tuple[bytes, int]:
        at = self.position + 4
        vr = b"" if implicit else self.data[at : at + 2]
        if implicit:
            header, layout, offset = 8, self.long, at
        elif vr in _LONG_VR:
            header, layout, offset = 12, self.long, at + 4
        elif vr in _SHORT_VR:
            header, layout, offset = 8, self.short, at + 2
        else:
            msg = f"element ({tag >> 16:04x},{tag & 0xFFFF:04x}) has no value representation"
            raise MalformedInstance(msg)
        if self.position + header > self.size:
            msg = f"the data set ends inside element ({tag >> 16:04x},{tag & 0xFFFF:04x})"
            raise MalformedInstance(msg)
        self.position += header
        return vr, int(layout.unpack_from(self.data, offset)[0])

    def _skip(self, tag: int, length: int) -> None:
        if length > self.bounds.element_bytes and tag not in PIXEL_DATA:
            msg = f"element ({tag >> 16:04x},{tag & 0xFFFF:04x}) of {length} bytes is too large"
            raise MalformedInstance(msg)
        self._require(tag, length)
        self.position += length

    def _require(self, tag: int, length: int) -> None:
        if self.position + length > self.size:
            msg = (
                f"element ({tag >> 16:04x},{tag & 0xFFFF:04x}) declares {length} bytes, "
                f"{self.size - self.position} are left"
            )
            raise MalformedInstance(msg)

    def _open(self, tag: int, length: int, *, is_sequence: bool, implicit: bool) -> None:
        if len(self.levels) >= 2 * self.bounds.depth:
            msg = f"sequences are nested deeper than {self.bounds.depth}"
            raise MalformedInstance(msg)
        end = None
        if length != _UNDEFINED:
            self._require(tag, length)
            end = self.position + length
        self.levels.append(_Level(is_sequence, implicit, end))

    def _close_ended(self) -> None:
        """Leave the sequences and items that end here."""
        while self.levels and (end := self.levels[-1].end) is not None and self.position >= end:
            if self.position > end:
                msg = f"something goes on beyond its sequence or item at byte {end}"
                raise MalformedInstance(msg)
            self.levels.pop()

    def _fragments(self, value: int) -> Extent:
        found: list[tuple[int, int]] = []
        while True:
            if self.size - self.position < _TAG_AND_LENGTH:
                msg = "the encapsulated pixel data have no end"
                raise MalformedInstance(msg)
            group, element = self.tag.unpack_from(self.data, self.position)
            (length,) = self.long.unpack_from(self.data, self.position + 4)
            self.position += _TAG_AND_LENGTH
            if (group << 16 | element) == _SEQUENCE_END:
                return Extent(value, self.position - value, tuple(found))
            if (group << 16 | element) != _ITEM or length == _UNDEFINED:
                msg = "the encapsulated pixel data hold something that is not a fragment"
                raise MalformedInstance(msg)
            found.append((self.position, length))
            self._skip(_ITEM, length)
