"""Where the bytes of each frame lie in a file, in any transfer syntax, decoded or not.

What `imaging.pixel_file` reads for models must be sound in every number; here frames are only
handed on, so that a video or an encoding of tomorrow can be fetched too.
"""

import os
import struct
from dataclasses import dataclass

from imaging.dicom_json import Place
from imaging.encodings import ENCODINGS, Encoding
from imaging.errors import PixelsUnreadable
from imaging.header import InstanceHeader
from imaging.scan import PIXEL_DATA

_ITEM, _SEQUENCE_END, _UNDEFINED = 0xFFFEE000, 0xFFFEE0DD, 0xFFFFFFFF
_ITEM_HEAD = 8
_IMPLICIT_HEAD, _EXPLICIT_HEAD = 8, 12
_MAX_FRAGMENTS = 1 << 20
_BYTE = 8
_STARTS = (b"\xff\xd8", b"\xff\x4f\xff\x51")
_ANY = Encoding(name="any other: explicit and little endian (PS3.5 A.4)")


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePlaces:
    """The frames of one instance.

    `value`: the pixel data element's value. `frames`: the bytes of each frame where they are whole
    bytes; `bits`: of a native frame otherwise. Encapsulated frames are fragments, each after an
    item head of 8 bytes. `problem` says why frames cannot be told apart; then there are none.
    """

    tag: int
    value: Place
    encapsulated: bool
    frames: tuple[Place, ...]
    bits: int = 0
    problem: str = ""


def frame_places(descriptor: int, header: InstanceHeader) -> FramePlaces | None:
    """Return where the frames of an open file lie, ``None`` when it has no pixel data.

    Raises
    ------
    PixelsUnreadable
        The pixel data are damaged.
    """
    if header.pixels_at is None:
        return None
    encoding = ENCODINGS.get(header.transfer_syntax_uid, _ANY)
    size = _IMPLICIT_HEAD if encoding.implicit else _EXPLICIT_HEAD
    head = os.pread(descriptor, size, header.pixels_at)
    if len(head) < size:
        return None
    order = ">" if encoding.big_endian else "<"
    group, element = struct.unpack_from(order + "HH", head)
    (length,) = struct.unpack_from(order + "I", head, size - 4)
    tag, value = group << 16 | element, header.pixels_at + size
    if tag not in PIXEL_DATA:
        return None
    if length == _UNDEFINED:
        return _encapsulated(descriptor, tag, value, frames=max(header.image.frames, 1))
    return _native(header, tag, Place(offset=value, length=length))


def without_item_heads(data: bytes) -> bytes:
    """Return the codestream of an encapsulated frame: its fragments one after the other."""
    parts, at = [], 0
    while at + _ITEM_HEAD <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 4)
        parts.append(data[at + _ITEM_HEAD : at + _ITEM_HEAD + length])
        at += _ITEM_HEAD + length
    return b"".join(parts)


def _native(header: InstanceHeader, tag: int, value: Place) -> FramePlaces:
    image = header.image
    frames, plane = max(image.frames, 1), (image.rows or 0) * (image.columns or 0)
    samples: float = image.samples
    if image.photometric in {"YBR_FULL_422", "YBR_PARTIAL_422"}:
        samples = 2
    bits = int(plane * samples * (image.bits_allocated or 0))
    problem = ""
    if not bits or frames * bits > value.length * _BYTE:
        problem = f"{value.length} bytes of pixel data are no {frames} frames of {bits} bits"
    whole = bits % _BYTE == 0 and not problem
    step = bits // _BYTE
    places = (Place(offset=value.offset + n * step, length=step) for n in range(frames))
    return FramePlaces(
        tag=tag,
        value=value,
        encapsulated=False,
        frames=tuple(places) if whole else (),
        bits=bits,
        problem=problem,
    )


def _encapsulated(descriptor: int, tag: int, value: int, *, frames: int) -> FramePlaces:
    table, *items = _items(descriptor, value)
    whole = Place(offset=value, length=_end(items[-1]) + _ITEM_HEAD - value)
    starts = _starts(descriptor, table, items, frames=frames)
    if len(starts) != frames or starts[0] != 0 or starts != sorted(set(starts)):
        problem = f"{len(items)} fragments cannot be told apart into {frames} frames"
        return FramePlaces(tag=tag, value=whole, encapsulated=True, frames=(), problem=problem)
    ends = [*(items[i].offset for i in starts[1:]), _end(items[-1])]
    places = tuple(
        Place(offset=items[start].offset, length=end - items[start].offset)
        for start, end in zip(starts, ends, strict=True)
    )
    return FramePlaces(tag=tag, value=whole, encapsulated=True, frames=places)


def _end(item: Place) -> int:
    return item.offset + item.length


def _items(descriptor: int, at: int) -> list[Place]:
    """Return the offset table and every fragment, heads included."""
    found: list[Place] = []
    while len(found) < _MAX_FRAGMENTS:
        head = os.pread(descriptor, _ITEM_HEAD, at)
        if len(head) < _ITEM_HEAD:
            break
        group, element, length = struct.unpack("<HHI", head)
        if group << 16 | element == _SEQUENCE_END and len(found) > 1:
            return found
        if group << 16 | element != _ITEM:
            break
        found.append(Place(offset=at, length=_ITEM_HEAD + length))
        at += _ITEM_HEAD + length
    msg = "the encapsulated pixel data are cut off or hold something that is not a fragment"
    raise PixelsUnreadable(msg)


def _starts(descriptor: int, table: Place, items: list[Place], *, frames: int) -> list[int]:
    """Index of the first fragment of each frame (PS3.5 A.4), as far as it can be told."""
    if frames == 1:
        return [0]
    if len(items) == frames:
        return list(range(frames))
    if table.length == _ITEM_HEAD + 4 * frames:
        raw = os.pread(descriptor, 4 * frames, table.offset + _ITEM_HEAD)
        index = {item.offset - items[0].offset: i for i, item in enumerate(items)}
        return [index.get(offset, -1) for offset in struct.unpack(f"<{frames}I", raw)]
    heads = [os.pread(descriptor, 4, item.offset + _ITEM_HEAD) for item in items]
    return [i for i, head in enumerate(heads) if head.startswith(_STARTS)]
