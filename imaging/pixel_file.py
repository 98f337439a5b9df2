"""Where the bytes of each frame lie in a file, and reading them by position (PS3.5 A.4)."""

import os
import struct
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian

from imaging.deflated import body
from imaging.encodings import Coding, encoding_of
from imaging.errors import MalformedInstance, PixelsUnreadable
from imaging.frame_format import FrameFormat, Stored, unpacked
from imaging.header import InstanceHeader
from imaging.scan import PIXEL_DATA, inflate, scan

_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
_FLOATS = PIXEL_DATA[:2]
_UNDEFINED = 0xFFFFFFFF
_MAX_FRAGMENTS = 1 << 20
_IMPLICIT_HEAD, _EXPLICIT_HEAD = 8, 12
_MAX_HEADER = 16 << 20  # of a deflated data set, before its pixels
_MAX_INFLATED = 1 << 30
_CUT = "the file ends within the pixel data"
_NONE = "the instance has no pixel data"
_SHARED_COLOURS = ("YBR_FULL_422", "YBR_PARTIAL_422")
_BYTE = 8
_CODESTREAM_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51")
_MARKED = (Coding.JPEG, Coding.JPEG_LS, Coding.JPEG_2000)
_AHEAD = 4096  # bytes read at once where many small fragments may follow one another


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fragment:
    item: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Element:
    tag: int
    value: int
    length: int
    words: bool


class PixelFile:
    """The pixel data of one instance: format and bytes of its frames.

    Raises
    ------
    PixelsUnreadable
        On opening: there is no file, no pixel data, or what the header says of them cannot be.
    """

    def __init__(self, header: InstanceHeader) -> None:
        if header.path is None:
            msg = "the instance has no file"
            raise PixelsUnreadable(msg)
        self.path: Path = header.path
        self._frames = max(header.image.frames, 1)
        self._encoding = encoding_of(header.transfer_syntax_uid)
        self._source = _Source(header, self.path, deflated=self._encoding.deflated)
        try:
            element = self._element()
            self._value, self._length = element.value, element.length
            self.format = _format(header, floating=element.tag in _FLOATS)
            words = element.words and self._encoding.big_endian
            self._swapped = words and self.format.dtype.itemsize == 1
            self._shared = False
            self._fragments: tuple[tuple[_Fragment, ...], ...] = ()
            if self._encoding.coding is not Coding.NATIVE:
                self._fragments = self._by_frame()
            else:
                self._check_length()
        except PixelsUnreadable:
            self._source.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    @property
    def native(self) -> bool:
        """Whether `read_native` gives the samples as they are."""
        return self._encoding.coding is Coding.NATIVE

    def read_native(self, frame: int, out: Stored) -> None:
        """Read the samples of a frame into an array of `FrameFormat.nbytes` bytes."""
        self._within(frame)
        bits, form = self._frame_bits(), self.format
        first, spare = divmod(frame * bits, _BYTE)
        if form.bits_allocated == 1:
            packed = self._bytes(first, -(-(spare + bits) // _BYTE))
            out[...] = unpacked(packed, spare, form)
        elif self._shared:
            out[...] = _whole_colours(self._bytes(first, bits // _BYTE), form)
        elif self._swapped:
            out.reshape(-1).view(np.uint8)[...] = self._bytes(first, form.nbytes)
        else:
            self._source.read_into(self._value + first, out.reshape(-1).view(np.uint8).data)
            if self._encoding.big_endian:
                out.byteswap(inplace=True)

    def _bytes(self, at: int, length: int) -> NDArray[np.uint8]:
        """Return bytes of the pixel data; they may have been written as big-endian words.

        Such words are how OW holds samples of 8 bits and of 1 bit (PS3.5 A.3).
        """
        if not self._swapped:
            return np.frombuffer(self._source.read(self._value + at, length), np.uint8)
        odd = at % 2
        whole = odd + length + (odd + length) % 2
        words = np.frombuffer(self._source.read(self._value + at - odd, whole), np.uint16)
        return words.byteswap().view(np.uint8)[odd : odd + length]

    def _frame_bits(self) -> int:
        """Bits of one native frame as it lies in the file; frames follow without a gap."""
        form = self.format
        samples = 2 if self._shared else form.samples
        return form.rows * form.columns * samples * form.bits_allocated

    def codestream(self, frame: int) -> bytes:
        """Return the compressed bytes of a frame."""
        self._within(frame)
        parts = (f for f in self._fragments[frame] if f.length)
        return b"".join(self._source.read(f.offset, f.length) for f in parts)

    def _within(self, frame: int) -> None:
        if not 0 <= frame < self._frames:
            msg = f"frame {frame + 1} is beyond the {self._frames} of the instance"
            raise PixelsUnreadable(msg)

    def _element(self) -> _Element:
        at = self._source.pixels_at
        size = _IMPLICIT_HEAD if self._encoding.implicit else _EXPLICIT_HEAD
        if at is None or at + size > self._source.size:
            raise PixelsUnreadable(_NONE)
        order = ">" if self._encoding.big_endian else "<"
        head = self._source.read(at, size)
        group, element = struct.unpack_from(order + "HH", head)
        (length,) = struct.unpack_from(order + "I", head, len(head) - 4)
        tag = group << 16 | element
        if tag not in PIXEL_DATA:
            raise PixelsUnreadable(_NONE)
        words = not self._encoding.implicit and head[4:6] == b"OW"
        return _Element(tag=tag, value=at + len(head), length=length, words=words)

    def _check_length(self) -> None:
        """Compare the length of native pixel data with what the header asks for.

        Some write whole colours under the name of shared ones, so that the length decides.
        """
        if self._length == _UNDEFINED:
            msg = "the pixel data are of undefined length, and yet not compressed"
            raise PixelsUnreadable(msg)
        whole = self._expected()
        if self.format.photometric in _SHARED_COLOURS and self._length < whole:
            self._shared = self.format.columns % 2 == 0 and self.format.dtype.itemsize == 1
            self.format = replace(self.format, planar=self.format.planar and not self._shared)
        expected = self._expected()
        # One byte of padding is the rule; a row is what careless senders add.
        spare = max(1, self.format.nbytes // self.format.rows)
        if not 0 <= self._length - expected <= spare:
            msg = f"the pixel data are {self._length} bytes, the header asks for {expected}"
            raise PixelsUnreadable(msg)
        if self._value + self._length > self._source.size:
            msg = f"the file ends {self._value + self._length - self._source.size} bytes too early"
            raise PixelsUnreadable(msg)

    def _expected(self) -> int:
        return -(-self._frame_bits() * self._frames // _BYTE)

    def _by_frame(self) -> tuple[tuple[_Fragment, ...], ...]:
        if self._length != _UNDEFINED:
            msg = "compressed pixel data have no fragments"
            raise PixelsUnreadable(msg)
        table, *fragments = self._items()
        if len(fragments) == self._frames:
            return tuple((fragment,) for fragment in fragments)
        starts = [0] if self._frames == 1 else self._starts(table, fragments)
        if self._frames == 1 and len(self._codestreams(fragments)) > 1:
            msg = "the pixel data are several codestreams, the header says one frame"
            raise PixelsUnreadable(msg)
        ends = [*starts[1:], len(fragments)]
        return tuple(tuple(fragments[a:b]) for a, b in zip(starts, ends, strict=True))

    def _items(self) -> list[_Fragment]:
        """Return the offset table and every fragment."""
        found: list[_Fragment] = []
        at = self._value
        while len(found) < _MAX_FRAGMENTS:
            group, element, length = struct.unpack("<HHI", self._source.read_near(at, 8))
            tag = group << 16 | element
            if tag == _SEQUENCE_END and len(found) > 1:
                return found
            if tag != _ITEM or at + 8 + length > self._source.size:
                break
            found.append(_Fragment(item=at, offset=at + 8, length=length))
            at += 8 + length
        msg = "the compressed pixel data are cut off or hold something that is not a fragment"
        raise PixelsUnreadable(msg)

    def _starts(self, table: _Fragment, fragments: list[_Fragment]) -> list[int]:
        """Index of each frame's first fragment: by the offset table, else by codestream starts."""
        if table.length == 4 * self._frames:
            offsets = struct.unpack(
                f"<{self._frames}I", self._source.read(table.offset, table.length)
            )
            index = {f.item - fragments[0].item: i for i, f in enumerate(fragments)}
            starts = [index.get(offset, -1) for offset in offsets]
        else:
            starts = self._codestreams(fragments)
        if len(starts) != self._frames or starts[0] != 0 or starts != sorted(set(starts)):
            msg = f"{len(fragments)} fragments cannot be told apart into {self._frames} frames"
            raise PixelsUnreadable(msg)
        return starts

    def _codestreams(self, fragments: list[_Fragment]) -> list[int]:
        """Index of each fragment that begins like a codestream; RLE has no mark to begin with."""
        if self._encoding.coding not in _MARKED:
            return []
        heads = (self._source.read_near(f.offset, min(4, f.length)) for f in fragments)
        return [i for i, head in enumerate(heads) if head.startswith(_CODESTREAM_STARTS)]


class _Source:
    """Positioned reads of a data set: of the file itself, or of what a deflated one inflates to."""

    def __init__(self, header: InstanceHeader, path: Path, *, deflated: bool) -> None:
        try:
            if deflated:
                self._descriptor, self.pixels_at = _inflated(header, path.read_bytes())
            else:
                self.pixels_at = header.pixels_at
                self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            msg = f"the file cannot be read: {error.strerror}"
            raise PixelsUnreadable(msg) from error
        self.size = os.fstat(self._descriptor).st_size
        self._near, self._near_at = b"", 0

    def read(self, offset: int, length: int) -> bytes:
        data = os.pread(self._descriptor, length, offset)
        if len(data) != length:
            raise PixelsUnreadable(_CUT)
        return data

    def read_near(self, offset: int, length: int) -> bytes:
        """Return few bytes, read with what follows them, since that may be asked for next."""
        start = offset - self._near_at
        if not 0 <= start <= len(self._near) - length:
            self._near, self._near_at, start = os.pread(self._descriptor, _AHEAD, offset), offset, 0
        if len(self._near) < start + length:
            raise PixelsUnreadable(_CUT)
        return self._near[start : start + length]

    def read_into(self, offset: int, view: memoryview) -> None:
        done = 0
        while done < len(view):
            step = os.preadv(self._descriptor, [view[done:]], offset + done)
            if not step:
                raise PixelsUnreadable(_CUT)
            done += step

    def close(self) -> None:
        os.close(self._descriptor)


def _inflated(header: InstanceHeader, raw: bytes) -> tuple[int, int | None]:
    """Descriptor of the inflated data set, and where its pixel data begin.

    It is inflated no further than the declared size of the pixels and a large header.
    """
    declared = _format(header, floating=False).nbytes * max(header.image.frames, 1)
    limit = min(declared, _MAX_INFLATED) + _MAX_HEADER
    try:
        plain = inflate(body(raw), limit)
        pixels = scan(plain, ExplicitVRLittleEndian).pixels
    except MalformedInstance as error:
        raise PixelsUnreadable(str(error)) from error
    descriptor = os.memfd_create("inflated")
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        file.write(plain)
    return descriptor, None if pixels is None else pixels.offset - _EXPLICIT_HEAD


def _format(header: InstanceHeader, *, floating: bool) -> FrameFormat:
    image = header.image
    stored = (image.bits_allocated if floating else image.bits_stored) or 0
    lowest = 0 if floating or image.high_bit is None else image.high_bit + 1 - stored
    form = FrameFormat(
        transfer_syntax_uid=header.transfer_syntax_uid,
        photometric=image.photometric,
        rows=image.rows or 0,
        columns=image.columns or 0,
        samples=image.samples,
        bits_allocated=image.bits_allocated or 0,
        bits_stored=stored,
        signed=image.signed,
        planar=image.planar,
        floating=floating,
        shift=lowest,
    )
    form.check()
    return form


def _whole_colours(shared: NDArray[np.uint8], form: FrameFormat) -> Stored:
    """Colours for each pixel from Y Y Cb Cr for every two (PS3.3 C.7.6.3.1.2, YBR_FULL_422)."""
    pairs = shared.reshape(-1, 4)
    whole = pairs[:, [0, 2, 3, 1, 2, 3]]
    return whole.view(form.dtype).reshape(form.shape)
