"""Attacks on a DICOM listener, each one connection or a few, and what came of it."""

import socket
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from random import Random

from scripts import fuzz_files, raw_pdus
from scripts.loopback import HOST
from scripts.raw_pdus import COMMAND, CT, LAST, Reply

_ECHO = raw_pdus.echo()
_HALF = raw_pdus.fragment(1, COMMAND, _ECHO[:20])
_SYNTAXES = (raw_pdus.EXPLICIT, raw_pdus.IMPLICIT)
_STORE_CONTEXTS = tuple(raw_pdus.context(2 * n + 1, CT, [s]) for n, s in enumerate(_SYNTAXES))
_DRIP_S = 0.2
_LINGER = struct.pack("ii", 1, 0)
_COMMITMENT = raw_pdus.context(1, raw_pdus.COMMITMENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A listener on this machine, and the address of loopback that we come from.

    `patience_s`: after this silence it counts as hanging.
    """

    port: int
    source: str = HOST
    patience_s: float = 30.0
    hold_s: float = 3.0

    def connect(self) -> socket.socket:
        """Return a connection."""
        connection = socket.create_connection(
            (HOST, self.port), timeout=self.patience_s, source_address=(self.source, 0)
        )
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def say(self, *pdus: bytes) -> Reply:
        """Say something and return what comes back."""
        with self.connect() as connection:
            with suppress(ConnectionError):  # refused before all was said
                for each in pdus:
                    connection.sendall(each)
            return raw_pdus.replies(connection)


Attack = Callable[[Target, Random], Reply]


def no_request(target: Target, rng: Random) -> Reply:
    """Send something else than a request: HTTP, TLS, other PDUs, noise."""
    said = (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01", raw_pdus.RELEASE)
    return target.say(rng.choice((*said, rng.randbytes(64) + bytes(8), raw_pdus.pdu(9, b"x"))))


def wrong_request(target: Target, rng: Random) -> Reply:
    """Send a request whose bits are not what they were."""
    request = bytearray(raw_pdus.request())
    for _ in range(rng.randint(1, 10)):
        request[rng.randrange(len(request))] ^= 1 << rng.randrange(8)
    return target.say(bytes(request), raw_pdus.message(1, _ECHO), raw_pdus.RELEASE, b"\0" * 8)


def many_contexts(target: Target, rng: Random) -> Reply:
    """Send thousands of presentation contexts, or of transfer syntaxes, or of user items."""
    number = rng.randint(129, 4000)
    contexts = [raw_pdus.context(n % 128 * 2 + 1, CT) for n in range(number)]
    syntaxes = [raw_pdus.context(1, CT, [raw_pdus.IMPLICIT] * rng.randint(600, 2500))]
    role = raw_pdus.item(0x54, struct.pack(">H", len(CT)) + CT.encode() + b"\1\1")
    user = raw_pdus.user_information(role * min(1500, number))
    return target.say(
        rng.choice(
            (
                raw_pdus.request(contexts),
                raw_pdus.request(syntaxes),
                raw_pdus.request(user=user),
                raw_pdus.pdu(1, bytes(rng.choice((10, 200 << 10, 1 << 20)))),
            )
        ),
        raw_pdus.RELEASE,
    )


def user_identity(target: Target, rng: Random) -> Reply:
    """Send a User Identity item of great length."""
    name = rng.randbytes(rng.randint(1, 30_000))
    item = struct.pack(">BBH", rng.randrange(8), 1, len(name)) + name + b"\0\0"
    user = raw_pdus.user_information(raw_pdus.item(0x58, item))
    return target.say(raw_pdus.request(user=user), raw_pdus.RELEASE)


def empty_fragments(target: Target, rng: Random) -> Reply:
    """Send a message that consists of empty fragments and never ends."""
    return _endless(target, raw_pdus.data(raw_pdus.fragment(1, COMMAND, b"")) * rng.randint(1, 50))


def endless_data(target: Target, rng: Random) -> Reply:
    """Send a data set that never ends."""
    piece = raw_pdus.data(raw_pdus.fragment(3, 0, bytes(rng.choice((10, 1000, 60_000)))))
    return _endless(target, piece, first=raw_pdus.message(3, raw_pdus.store()))


def _endless(target: Target, piece: bytes, first: bytes = b"") -> Reply:
    """Say the same until the other side ends it; a hang, if it does not within patience."""
    with target.connect() as connection:
        connection.sendall(raw_pdus.request() + first)
        until = time.monotonic() + target.patience_s
        try:
            while time.monotonic() < until:
                connection.sendall(piece)
        except OSError:
            return raw_pdus.replies(connection)
        return Reply(kinds=(), reason=None, closed=False)


def out_of_order(target: Target, rng: Random) -> Reply:
    """Send data before the command, mixed fragments, foreign contexts, more after the end."""
    other = raw_pdus.fragment(rng.choice((2, 3, 5, 255)), COMMAND | LAST, _ECHO[20:])
    end = raw_pdus.fragment(1, COMMAND | LAST, _ECHO)
    said = (
        raw_pdus.data(raw_pdus.fragment(1, LAST, b"data")),
        raw_pdus.data(_HALF, other),
        raw_pdus.data(_HALF) + raw_pdus.data(raw_pdus.fragment(1, 0, b"data")),
        raw_pdus.message(3, raw_pdus.store()) + raw_pdus.message(1, _ECHO),
        raw_pdus.data(end, _HALF),
        raw_pdus.pdu(4, struct.pack(">IBB", rng.randrange(1 << 32), 1, 3)),
        raw_pdus.request(),
        raw_pdus.pdu(2, bytes(68)),
    )
    return target.say(raw_pdus.request(), rng.choice(said))


def lying_command(target: Target, rng: Random) -> Reply:
    """Send a command set whose bits are not what they were, or that says something else."""
    command = bytearray(rng.choice((_ECHO, raw_pdus.store(), raw_pdus.store("../../x"))))
    for _ in range(rng.randint(1, 6)):
        command[rng.randrange(len(command))] ^= 1 << rng.randrange(8)
    field = rng.choice((0x0010, 0x0020, 0x0021, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150, 0x8001))
    other = raw_pdus.command(
        field, raw_pdus.element(2, raw_pdus.uid(CT)), data=rng.choice((0, 257))
    )
    said = raw_pdus.message(3, rng.choice((bytes(command), other)), b"\x08\0\x18\0UI\x02\x001\0")
    return target.say(raw_pdus.request(), said, raw_pdus.RELEASE, raw_pdus.ABORT)


def floods(target: Target, rng: Random) -> Reply:
    """Send C-CANCEL, N-EVENT-REPORT, responses nobody asked for, and echoes without waiting."""
    report = raw_pdus.command(
        raw_pdus.N_EVENT_REPORT, raw_pdus.element(2, raw_pdus.uid(raw_pdus.COMMITMENT))
    )
    kind = rng.choice(
        (
            raw_pdus.command(raw_pdus.C_CANCEL),
            report,
            raw_pdus.command(0x8001, raw_pdus.element(0x0900, raw_pdus.whole(0))),
            _ECHO,
        )
    )
    contexts = [_COMMITMENT] if kind is report else ()
    flood = raw_pdus.message(1, kind) * rng.randint(20, 300)
    return target.say(raw_pdus.request(contexts), flood, raw_pdus.ABORT)


def silence(target: Target, rng: Random) -> Reply:
    """Open connections that say nothing, or stop in the middle of a request."""
    with ExitStack() as held:
        idle = [held.enter_context(target.connect()) for _ in range(rng.randint(1, 30))]
        for each in idle[::2]:
            with suppress(OSError):
                each.sendall(raw_pdus.request()[: rng.randrange(100)])
        return raw_pdus.replies(idle[-1])


def dripping(target: Target, rng: Random) -> Reply:
    """Send a request, or a message, byte by byte."""
    whole = raw_pdus.request() if rng.random() < 0.5 else b""  # noqa: PLR2004
    start, slow = (b"", whole) if whole else (raw_pdus.request(), raw_pdus.data(_HALF))
    with target.connect() as connection:
        with suppress(OSError):
            connection.sendall(start)
            for byte in slow[: int(target.patience_s / _DRIP_S)]:
                connection.sendall(bytes([byte]))
                time.sleep(_DRIP_S)
        return raw_pdus.replies(connection)


def stalling(target: Target, rng: Random) -> Reply:
    """Stop inside a PDU, or inside a message."""
    said = raw_pdus.data(_HALF)
    return target.say(raw_pdus.request(), said[: rng.choice((3, 8, 20, len(said)))])


def cut(target: Target, rng: Random) -> Reply:
    """Reset the connection in the middle of whatever it was."""
    whole = raw_pdus.request() + raw_pdus.message(3, raw_pdus.store(), bytes(50_000))
    with target.connect() as connection:
        with suppress(OSError):
            connection.sendall(whole[: rng.randrange(1, len(whole))])
            time.sleep(rng.random() * 0.05)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    return Reply(kinds=(), reason=None, closed=True)


def deaf(target: Target, rng: Random) -> Reply:
    """Ask and ask and never read the answers."""
    with target.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(target.hold_s)
        with suppress(OSError):
            connection.sendall(raw_pdus.request())
            for _ in range(rng.randint(100, 5000)):
                connection.sendall(raw_pdus.message(1, _ECHO))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    return Reply(kinds=(), reason=None, closed=True)


def hoarding(target: Target, rng: Random) -> Reply:
    """Hold more associations than one peer may have for a while."""
    with ExitStack() as held:
        many = [held.enter_context(target.connect()) for _ in range(rng.randint(5, 25))]
        for each in many:
            with suppress(OSError):
                each.sendall(raw_pdus.request(calling="HOARDER"))
        time.sleep(rng.random() * target.hold_s)
        with suppress(OSError):
            many[-1].sendall(raw_pdus.RELEASE)
        return raw_pdus.replies(many[-1])


def damaged_files(target: Target, rng: Random) -> Reply:
    """Send instances that are damaged, one after the other on one association."""
    with target.connect() as connection:
        connection.sendall(raw_pdus.request(_STORE_CONTEXTS))
        accepted = raw_pdus.read_pdu(connection)
        kinds = [*accepted[:1]]
        for number in range(10 if accepted else 0):
            made = rng.choice(fuzz_files.KINDS)(rng)
            command = raw_pdus.store(made.instance_uid, message=number + 1)
            context = 2 * _SYNTAXES.index(made.syntax) + 1
            connection.sendall(raw_pdus.message(context, command, made.data))
            answer = raw_pdus.read_pdu(connection)
            kinds.append(answer[0] if answer else 0)
        connection.sendall(raw_pdus.RELEASE)
        rest = raw_pdus.replies(connection)
    return Reply(kinds=(*kinds, *rest.kinds), reason=rest.reason, closed=rest.closed)


def garbled(target: Target, rng: Random) -> Reply:
    """Send a whole conversation in which a few bits are not what they were."""
    made = fuzz_files.encoded(fuzz_files.sound())
    said = bytearray(
        raw_pdus.request(_STORE_CONTEXTS)
        + raw_pdus.message(1, raw_pdus.store(made.instance_uid), made.data)
        + raw_pdus.RELEASE
    )
    for _ in range(rng.randint(1, 5)):
        said[rng.randrange(len(said))] ^= 1 << rng.randrange(8)
    return target.say(bytes(said))


ATTACKS: tuple[Attack, ...] = (
    no_request,
    wrong_request,
    many_contexts,
    user_identity,
    empty_fragments,
    endless_data,
    out_of_order,
    lying_command,
    floods,
    silence,
    dripping,
    stalling,
    cut,
    deaf,
    hoarding,
    damaged_files,
    garbled,
)


def outcome(attack: Attack, target: Target, rng: Random) -> str:
    """Return what came of an attack in words; "hang" when the other side neither answers nor ends.

    A connection that is turned away at once counts as closed.
    """
    try:
        reply = attack(target, rng)
    except TimeoutError:
        return "hang"
    except OSError:
        return "closed"
    if not reply.closed:
        return "hang"
    if reply.reason is not None:
        kind = "aborted" if 7 in reply.kinds else "rejected"  # noqa: PLR2004 - A-ABORT
        return f"{kind} {reply.reason[0]},{reply.reason[1]}"
    return "answered" if reply.kinds else "closed"
