"""Connections: what they must say before anything is set up for them, and how fast."""

import select
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.transport import AssociationSocket
from typing_extensions import override

from dicom_node.guard import HEAD, Fault, Refused, abort_pdu, check_request, length_of
from dicom_node.limits import Limits
from dicom_node.tls import CheckedSocket

_HEADROOM = 1 << 10  # some senders do not count the header of the PDV items
_STANDARD = Limits()


def send_at_once(connection: socket.socket) -> None:
    """Switch Nagle's algorithm off: with delayed acknowledgement it costs 40 ms a message."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def association_request(connection: socket.socket, limits: Limits, *, until: float) -> bytes:
    """Return the first PDU, an association request; before it has come nothing is set up.

    Raises
    ------
    Refused
        It is something else, or does not come until then. The peer has been told.
    """
    try:
        head = _exactly(connection, HEAD, until)
        pdu = head + _exactly(connection, length_of(head), until)
        check_request(pdu, limits)
        _require_readable(pdu)
    except Refused as refused:
        _tell(connection, refused)
        raise
    return pdu


def _require_readable(pdu: bytes) -> None:
    """Raise `Refused` for what pynetdicom would only stumble over once there are threads for it."""
    try:
        request = A_ASSOCIATE_RQ()
        request.decode(pdu)
        request.to_primitive()
    except Exception as error:
        why = f"an association request that cannot be read: {type(error).__name__}"
        raise Refused(Fault.INVALID_PARAMETER, why) from error


def _tell(connection: socket.socket, refused: Refused) -> None:
    with suppress(OSError):
        connection.sendall(abort_pdu(refused.fault))


def _exactly(connection: socket.socket, size: int, until: float) -> bytes:
    buffer = bytearray(size)
    with memoryview(buffer) as view:
        _fill(connection, view, until)
    return bytes(buffer)


def _fill(connection: socket.socket, view: memoryview, until: float) -> int:
    """Read until `view` is full or the peer has closed; return how much was read.

    A socket's own time-out is for one reading: who sends a byte now and then never meets it.
    """
    read, before = 0, connection.gettimeout()
    try:
        while read < len(view):
            left = until - time.monotonic()
            if left <= 0:
                raise Refused(Fault.NOT_SPECIFIED, "it comes too slowly")
            connection.settimeout(left)
            count = connection.recv_into(view[read:])
            if not count:
                break
            read += count
    except TimeoutError as error:
        raise Refused(Fault.NOT_SPECIFIED, "it comes too slowly") from error
    finally:
        connection.settimeout(before)
    return read


class BoundedSocket(AssociationSocket):
    """Reads a PDU into one buffer, none larger than was agreed and none for ever; always closes."""

    limits = _STANDARD
    ahead = b""  # what was read before there was an association

    @override
    def recv(self, nr_bytes: int) -> bytearray:
        if nr_bytes > self.limits.pdu_bytes + _HEADROOM:
            msg = f"a PDU of {nr_bytes} bytes where {self.limits.pdu_bytes} were agreed"
            raise OSError(msg)
        if self.ahead:
            taken, self.ahead = self.ahead[:nr_bytes], self.ahead[nr_bytes:]
            return bytearray(taken)
        assert self.socket is not None
        buffer = bytearray(nr_bytes)
        until = time.monotonic() + self.limits.longest_s(nr_bytes)
        try:
            with memoryview(buffer) as view:
                read = _fill(self.socket, view, until)
        except Refused as refused:
            _tell(self.socket, refused)
            raise OSError(str(refused)) from refused
        except ssl.SSLError as error:
            if isinstance(self.socket, CheckedSocket):
                self.socket.note(error)
            raise
        return buffer[:read]

    @property
    @override
    def ready(self) -> bool:
        """Whether there is something to read; unlike `select`, also for handles above 1023."""
        if self.socket is None or not self._is_connected:
            return False
        if self.ahead or (isinstance(self.socket, ssl.SSLSocket) and self.socket.pending()):
            return True  # what TLS has decrypted already, the kernel does not know of
        try:
            poll = select.poll()
            poll.register(self.socket, select.POLLIN)
            return bool(poll.poll(0))
        except (OSError, ValueError):
            self.event_queue.put("Evt17")  # the connection is closed
            return False

    @override
    def _shutdown_socket(self) -> None:
        if self.socket is None:
            return
        super()._shutdown_socket()
        self.socket.close()  # which is left out there when the peer was first


class WaitingRoom:
    """Connections that have not asked for an association yet.

    When it is full, whoever has most connections in it loses the oldest of them: a sound peer says
    what it wants at once, so this hardly ever meets one.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._waiting: dict[socket.socket, str] = {}

    @contextmanager
    def place(self, connection: socket.socket, address: str) -> Iterator[None]:
        """Let a connection wait here for the time of the block."""
        handle = connection.dup()  # a TLS connection takes the original away
        with self._lock:
            if len(self._waiting) >= self._most:
                self._turn_out()
            self._waiting[handle] = address
        try:
            yield
        finally:
            with self._lock:
                self._waiting.pop(handle, None)
                handle.close()

    def is_crowded_by(self, address: str) -> bool:
        """Whether this address has an eighth of the places already."""
        with self._lock:
            return sum(other == address for other in self._waiting.values()) > self._most // 8

    def _turn_out(self) -> None:
        address, _ = Counter(self._waiting.values()).most_common(1)[0]
        oldest = next(each for each, other in self._waiting.items() if other == address)
        del self._waiting[oldest]
        with suppress(OSError):
            oldest.shutdown(socket.SHUT_RDWR)
