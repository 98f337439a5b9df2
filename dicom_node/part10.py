"""Take a Part 10 file apart (PS3.10 section 7): file meta information and encoded data set."""

import struct

from dicom_node.archive import Encoded
from imaging.errors import MalformedInstance, NotDicom

_PREAMBLE = 128
_META_GROUP = 2
_LONG_VR = (b"OB", b"OW", b"UN", b"SQ", b"UT")
_SHORT_HEADER, _LONG_HEADER = 8, 12
_SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX = 0x02, 0x03, 0x10


def encoded_of(part10: bytes) -> Encoded:
    """Return the data set of a Part 10 file as it lies there, named by its file meta information.

    Walks the meta elements instead of trusting their group length, which real files get wrong.

    Raises
    ------
    NotDicom
        There is no DICM prefix.
    MalformedInstance
        The file meta information is cut off or has no transfer syntax.
    """
    if part10[_PREAMBLE : _PREAMBLE + 4] != b"DICM":
        raise NotDicom
    meta: dict[int, str] = {}
    position = _PREAMBLE + 4
    while part10[position : position + 2] == struct.pack("<H", _META_GROUP):
        element, start, end = _element(part10, position)
        meta[element] = part10[start:end].decode("ascii", "replace").strip(" \0")
        position = end
    if not meta.get(_TRANSFER_SYNTAX):
        msg = "the file meta information has no transfer syntax"
        raise MalformedInstance(msg)
    return Encoded(
        dataset=part10[position:],
        sop_class_uid=meta.get(_SOP_CLASS, ""),
        instance_uid=meta.get(_SOP_INSTANCE, ""),
        transfer_syntax_uid=meta[_TRANSFER_SYNTAX],
    )


def _element(data: bytes, position: int) -> tuple[int, int, int]:
    """Return element number, start and end of the value of the meta element at `position`."""
    head = data[position : position + _LONG_HEADER]
    if len(head) < _LONG_HEADER:
        msg = "the file ends inside the file meta information"
        raise MalformedInstance(msg)
    is_long = head[4:6] in _LONG_VR
    length = struct.unpack_from("<I" if is_long else "<H", head, 8 if is_long else 6)[0]
    start = position + (_LONG_HEADER if is_long else _SHORT_HEADER)
    if start + length > len(data):
        msg = "the file ends inside the file meta information"
        raise MalformedInstance(msg)
    return struct.unpack_from("<H", head, 2)[0], start, start + length
