"""PDUs are looked at as bytes before pynetdicom decodes them (PS3.8 9.3, PS3.7 6.3).

What does not keep to the protocol, or to the limits, ends the association with an A-ABORT that
says why.
"""

import struct
import time
from collections.abc import Iterator
from enum import Enum, IntEnum, auto

from dicom_node.limits import Limits

ASSOCIATE_RQ, P_DATA, ABORT = 0x01, 0x04, 0x07
HEAD = 6  # type, reserved, length
LARGEST_REQUEST = 256 << 10  # 128 contexts with every transfer syntax there is need less
_PROTOCOL_VERSION = 1
_FIXED_REQUEST = 68
_ITEM_HEAD = 4
_CONTEXT_ITEM, _USER_ITEM = 0x20, 0x50
_MOST_SUBITEMS = 512
_LARGEST_COMMAND = 16 << 10
_IS_COMMAND, _IS_LAST = 1, 2
_COMMAND_FIELD, _DATA_SET_TYPE = 0x0100, 0x0800
_NO_DATA_SET = 0x0101
_COMMANDS = frozenset(
    (0x0001, 0x0010, 0x0020, 0x0021, 0x0030, 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150)
)
_CANCEL, _RESPONSE = 0x0FFF, 0x8000


class Fault(IntEnum):
    """Reason/Diag. of an A-ABORT by the service provider (PS3.8 table 9-26)."""

    NOT_SPECIFIED = 0
    """Too slow, too long, too many."""
    UNRECOGNIZED_PDU = 1
    """What came is no PDU that may come first."""
    UNEXPECTED_PDU = 2
    """A fragment of another message, or out of its order."""
    INVALID_PARAMETER = 6
    """A length, an identifier or a number is wrong."""


class Refused(Exception):
    """A peer breaks the protocol or a limit."""

    def __init__(self, fault: Fault, why: str) -> None:
        super().__init__(why)
        self.fault = fault


class _Awaited(Enum):
    NOTHING = auto()
    """Between messages."""
    COMMAND = auto()
    """The rest of a command set."""
    DATA = auto()
    """The data set, or the rest of it."""


def abort_pdu(fault: Fault) -> bytes:
    """Return an A-ABORT of the service provider."""
    return struct.pack(">BxIxxBB", ABORT, 4, 2, fault)


def length_of(head: bytes) -> int:
    """Return how many bytes follow the head of an A-ASSOCIATE-RQ."""
    kind, length = struct.unpack(">BxI", head)
    if kind != ASSOCIATE_RQ:
        raise Refused(Fault.UNRECOGNIZED_PDU, "it does not begin with an association request")
    if not _FIXED_REQUEST <= length <= LARGEST_REQUEST:
        raise Refused(Fault.INVALID_PARAMETER, f"an association request of {length} bytes")
    return int(length)


def calling_title(pdu: bytes) -> str:
    """Return the calling AE title of an A-ASSOCIATE-RQ."""
    return pdu[26:42].decode("ascii", "replace").strip()


def check_request(pdu: bytes, limits: Limits) -> None:
    """Raise `Refused` unless an A-ASSOCIATE-RQ is made of whole items, and not of too many."""
    if struct.unpack_from(">H", pdu, HEAD)[0] != _PROTOCOL_VERSION:
        raise Refused(Fault.INVALID_PARAMETER, "another version of the protocol")
    contexts, seen = 0, set[int]()
    for kind, start, end in _items(pdu, HEAD + _FIXED_REQUEST, len(pdu)):
        if kind == _USER_ITEM:
            _count(pdu, start, end)
        elif kind == _CONTEXT_ITEM:
            contexts += 1
            if contexts > limits.contexts:
                why = f"more than {limits.contexts} presentation contexts"
                raise Refused(Fault.INVALID_PARAMETER, why)
            if end - start < _ITEM_HEAD or not pdu[start] % 2 or pdu[start] in seen:
                why = "a presentation context has no identifier of its own"
                raise Refused(Fault.INVALID_PARAMETER, why)
            seen.add(pdu[start])
            _count(pdu, start + _ITEM_HEAD, end)


def _count(pdu: bytes, start: int, end: int) -> None:
    for number, _ in enumerate(_items(pdu, start, end)):
        if number >= _MOST_SUBITEMS:
            raise Refused(Fault.INVALID_PARAMETER, f"an item holds more than {_MOST_SUBITEMS}")


def _items(pdu: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield kind, start and end of each item."""
    while at < end:
        if at + _ITEM_HEAD > end:
            raise Refused(Fault.INVALID_PARAMETER, "an item of the association request is cut off")
        kind, length = struct.unpack_from(">BxH", pdu, at)
        at += _ITEM_HEAD
        if at + length > end:
            raise Refused(Fault.INVALID_PARAMETER, "an item of the association request is cut off")
        yield kind, at, at + length
        at += length


class Conversation:
    """Follows the messages of one association, fragment by fragment; `contexts` are accepted."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._awaited, self._context = _Awaited.NOTHING, 0
        self._command = bytearray()
        self._size, self._began = 0, 0.0

    @property
    def is_late(self) -> bool:
        """Whether the message that is coming takes too long."""
        if self._awaited is _Awaited.NOTHING:
            return False
        return time.monotonic() - self._began > self._limits.longest_s(self._size)

    def hear(self, pdu: bytes, contexts: frozenset[int]) -> int | None:
        """Take in a P-DATA-TF; return the command of the message that it ends, if it ends one.

        Raises
        ------
        Refused
            It is not what may come now.
        """
        at, command = HEAD, None
        while at < len(pdu):
            if command is not None:
                raise Refused(Fault.UNEXPECTED_PDU, "something follows the end of a message")
            length = struct.unpack_from(">I", pdu, at)[0] if at + 4 <= len(pdu) else 0
            start, at = at + 4, at + 4 + length
            if length < _IS_LAST or at > len(pdu):
                raise Refused(Fault.INVALID_PARAMETER, "a fragment is cut off or has no header")
            if pdu[start] not in contexts:
                raise Refused(Fault.INVALID_PARAMETER, f"no presentation context {pdu[start]}")
            command = self._fragment(pdu[start], pdu[start + 1], pdu[start + 2 : at])
        if self.is_late:
            raise Refused(Fault.NOT_SPECIFIED, "the message comes too slowly")
        return command

    def _fragment(self, context: int, header: int, content: bytes) -> int | None:
        if self._awaited is _Awaited.NOTHING:
            self._awaited, self._context = _Awaited.COMMAND, context
            self._size, self._began = 0, time.monotonic()
            self._command.clear()
        if context != self._context:
            raise Refused(Fault.UNEXPECTED_PDU, "fragments of two messages are mixed")
        if bool(header & _IS_COMMAND) != (self._awaited is _Awaited.COMMAND):
            raise Refused(Fault.UNEXPECTED_PDU, "command and data set are out of order")
        self._size += len(content)
        if self._awaited is _Awaited.COMMAND:
            self._command += content
        self._require_size()
        return self._last() if header & _IS_LAST else None

    def _require_size(self) -> None:
        if len(self._command) > _LARGEST_COMMAND:
            why = f"a command set of more than {_LARGEST_COMMAND} bytes"
            raise Refused(Fault.INVALID_PARAMETER, why)
        if self._size > self._limits.message_bytes:
            why = f"a message of more than {self._limits.message_bytes} bytes"
            raise Refused(Fault.NOT_SPECIFIED, why)

    def _last(self) -> int | None:
        """Go on to the data set if one was announced; else the message is complete."""
        command, has_data_set = _understood(bytes(self._command))
        if self._awaited is _Awaited.COMMAND and has_data_set:
            self._awaited = _Awaited.DATA
            return None
        self._awaited = _Awaited.NOTHING
        return command


def _understood(command: bytes) -> tuple[int, bool]:
    """Return what a command set commands, and whether a data set follows (PS3.7 E.1)."""
    values: dict[int, int] = {}
    at = 0
    while at < len(command):
        if at + 8 > len(command):
            raise Refused(Fault.INVALID_PARAMETER, "an element of the command set is cut off")
        group, element, length = struct.unpack_from("<HHI", command, at)
        at += 8
        if group or at + length > len(command):
            raise Refused(Fault.INVALID_PARAMETER, "the command set is not one")
        if length == 2:  # noqa: PLR2004 - a US
            values[element] = struct.unpack_from("<H", command, at)[0]
        at += length
    kind, data_set = values.get(_COMMAND_FIELD), values.get(_DATA_SET_TYPE)
    if kind is None or data_set is None or not _is_known(kind):
        raise Refused(Fault.INVALID_PARAMETER, "the command set names no command that there is")
    return kind, data_set != _NO_DATA_SET


def _is_known(command: int) -> bool:
    return command == _CANCEL or command & ~_RESPONSE in _COMMANDS
