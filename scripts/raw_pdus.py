"""PDUs as bytes, sound ones and others, to see what a listener does with them (PS3.8 9.3)."""

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
COMMITMENT = "1.2.840.10008.1.20.1"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
C_STORE, C_ECHO, C_CANCEL, N_EVENT_REPORT = 0x0001, 0x0030, 0x0FFF, 0x0100
WITH_DATA, WITHOUT_DATA = 0x0000, 0x0101
COMMAND, LAST = 1, 2
_REPLY_LIMIT = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back: the type of each PDU, and the reason of an A-ABORT or A-ASSOCIATE-RJ."""

    kinds: tuple[int, ...]
    reason: tuple[int, int] | None
    closed: bool


def item(kind: int, content: bytes) -> bytes:
    """Return an item of an A-ASSOCIATE-RQ."""
    return struct.pack(">BxH", kind, len(content)) + content


def context(number: int, abstract: str, syntaxes: Sequence[str] = (IMPLICIT,)) -> bytes:
    """Return a presentation context item."""
    parts = [item(0x30, abstract.encode()), *(item(0x40, uid.encode()) for uid in syntaxes)]
    return item(0x20, struct.pack(">B3x", number) + b"".join(parts))


def user_information(extra: bytes = b"", *, maximum: int = 16384) -> bytes:
    """Return the user information item."""
    return item(0x50, item(0x51, struct.pack(">I", maximum)) + item(0x52, b"1.2.3.4") + extra)


def pdu(kind: int, content: bytes) -> bytes:
    """Return a PDU."""
    return struct.pack(">BxI", kind, len(content)) + content


def request(
    contexts: Sequence[bytes] = (),
    *,
    calling: str = "FUZZ",
    called: str = "WETREAD",
    user: bytes | None = None,
) -> bytes:
    """Return an A-ASSOCIATE-RQ; without contexts it asks for Verification and CT Image Storage."""
    asked = contexts or (context(1, VERIFICATION), context(3, CT, [EXPLICIT]))
    titles = f"{called:16.16}{calling:16.16}".encode("latin-1")
    head = struct.pack(">HH", 1, 0) + titles + bytes(32)
    application = item(0x10, b"1.2.840.10008.3.1.1.1")
    return pdu(1, head + application + b"".join(asked) + (user or user_information()))


def element(number: int, value: bytes) -> bytes:
    """Return an element of a command set."""
    return struct.pack("<HHI", 0, number, len(value)) + value


def whole(number: int) -> bytes:
    """Return a US."""
    return struct.pack("<H", number)


def uid(text: str) -> bytes:
    """Return a UI."""
    return text.encode() + b"\0" * (len(text) % 2)


def command(field: int, *elements: bytes, data: int = WITHOUT_DATA, message: int = 1) -> bytes:
    """Return a command set."""
    body = b"".join(
        (
            element(0x0100, whole(field)),
            element(0x0120 if field == C_CANCEL else 0x0110, whole(message)),
            element(0x0800, whole(data)),
            *elements,
        )
    )
    return element(0, struct.pack("<I", len(body))) + body


def echo(message: int = 1) -> bytes:
    """Return the command set of a C-ECHO request."""
    return command(C_ECHO, element(0x0002, uid(VERIFICATION)), message=message)


def store(instance: str = "1.2.3", *, message: int = 1, sop_class: str = CT) -> bytes:
    """Return the command set of a C-STORE request."""
    named = (element(0x0002, uid(sop_class)), element(0x1000, uid(instance)))
    return command(C_STORE, *named, element(0x0700, whole(0)), data=WITH_DATA, message=message)


def fragment(number: int, header: int, content: bytes) -> bytes:
    """Return a presentation data value item."""
    return struct.pack(">IBB", len(content) + 2, number, header) + content


def data(*fragments: bytes) -> bytes:
    """Return a P-DATA-TF."""
    return pdu(4, b"".join(fragments))


def message(number: int, command_set: bytes, data_set: bytes | None = None) -> bytes:
    """Return a whole DIMSE message in P-DATA-TF PDUs."""
    sent = data(fragment(number, COMMAND | LAST, command_set))
    return sent if data_set is None else sent + data(fragment(number, LAST, data_set))


RELEASE, ABORT = pdu(5, bytes(4)), pdu(7, bytes(4))


def read_pdu(connection: socket.socket) -> bytes:
    """Return the next PDU, or less when the other side has closed."""
    head = _read(connection, 6)
    if len(head) < 6:  # noqa: PLR2004 - type, reserved, length
        return head
    return head + _read(connection, min(_REPLY_LIMIT, int.from_bytes(head[2:], "big")))


def replies(connection: socket.socket, *, most: int = 1 << 20) -> Reply:
    """Return what comes until the other side closes or says nothing for the socket's time-out."""
    kinds: list[int] = []
    reason: tuple[int, int] | None = None
    closed = False
    try:
        while len(kinds) < most:
            got = read_pdu(connection)
            if not got:
                closed = True
                break
            kinds.append(got[0])
            if got[0] in {3, 7} and len(got) == 10:  # noqa: PLR2004
                reason = got[8], got[9]
    except TimeoutError:
        pass
    except OSError:
        closed = True
    return Reply(kinds=tuple(kinds), reason=reason, closed=closed)


def _read(connection: socket.socket, size: int) -> bytes:
    read = b""
    while len(read) < size and (more := connection.recv(size - len(read))):
        read += more
    return read
