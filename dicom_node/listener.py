"""pynetdicom's association server, made quick to set up and safe against slow or greedy peers.

Leans on the inside of pynetdicom, which is why one exact version of it is required.
"""

import logging
import socket
import ssl
import threading
from collections.abc import Sequence
from typing import Any

from pynetdicom import AllStoragePresentationContexts, _config
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.events import EventHandlerType
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    Verification,
)
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer
from typing_extensions import override

_log = logging.getLogger(__name__)
LARGEST_PDU = 1 << 20
_HEADROOM = 1 << 10  # some senders do not count the header of the PDV items

# Uncompressed first: where a sender offers several, it then sends what all can read.
TRANSFER_SYNTAXES = (
    "1.2.840.10008.1.2.1",  # Explicit VR Little Endian
    "1.2.840.10008.1.2",  # Implicit VR Little Endian
    "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian
    "1.2.840.10008.1.2.2",  # Explicit VR Big Endian
    "1.2.840.10008.1.2.5",  # RLE
    "1.2.840.10008.1.2.4.80",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.201",  # HTJ2K lossless
    "1.2.840.10008.1.2.4.202",  # HTJ2K lossless RPCL
    "1.2.840.10008.1.2.4.70",  # JPEG lossless, selection value 1
    "1.2.840.10008.1.2.4.57",  # JPEG lossless
    "1.2.840.10008.1.2.4.50",  # JPEG baseline
    "1.2.840.10008.1.2.4.51",  # JPEG extended
    "1.2.840.10008.1.2.4.81",  # JPEG-LS near lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.203",  # HTJ2K
    "1.2.840.10008.1.2.4.92",  # JPEG 2000 multi-component lossless
    "1.2.840.10008.1.2.4.93",  # JPEG 2000 multi-component
    "1.2.840.10008.1.2.4.110",  # JPEG XL lossless
    "1.2.840.10008.1.2.4.111",  # JPEG XL recompressed JPEG
    "1.2.840.10008.1.2.4.112",  # JPEG XL
    "1.2.840.10008.1.2.8.1",  # Deflated image frames
    "1.2.840.10008.1.2.4.53",  # JPEG spectral selection (retired)
    "1.2.840.10008.1.2.4.55",  # JPEG full progression (retired)
    "1.2.840.10008.1.2.4.100",  # MPEG2 main level
    "1.2.840.10008.1.2.4.100.1",
    "1.2.840.10008.1.2.4.101",  # MPEG2 high level
    "1.2.840.10008.1.2.4.101.1",
    "1.2.840.10008.1.2.4.102",  # MPEG-4 AVC/H.264
    "1.2.840.10008.1.2.4.102.1",
    "1.2.840.10008.1.2.4.103",
    "1.2.840.10008.1.2.4.103.1",
    "1.2.840.10008.1.2.4.104",
    "1.2.840.10008.1.2.4.104.1",
    "1.2.840.10008.1.2.4.105",
    "1.2.840.10008.1.2.4.105.1",
    "1.2.840.10008.1.2.4.106",
    "1.2.840.10008.1.2.4.106.1",
    "1.2.840.10008.1.2.4.107",  # HEVC/H.265
    "1.2.840.10008.1.2.4.108",
)


class SharedContexts(list[PresentationContext]):
    """Supported contexts that all associations share.

    pynetdicom copies them for each association, 50 ms for 170 SOP classes, and never changes them.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> "SharedContexts":
        return self


def supported_contexts() -> SharedContexts:
    """Return Verification, storage commitment and every storage SOP class in all syntaxes above."""
    storage = [
        build_context(context.abstract_syntax, list(TRANSFER_SYNTAXES))
        for context in AllStoragePresentationContexts
        if context.abstract_syntax is not None
    ]
    commitment = build_context(StorageCommitmentPushModel)
    commitment.scu_role = commitment.scp_role = True  # peers ask us, and answer what we asked
    return SharedContexts([build_context(Verification), *storage, commitment])


def send_at_once(connection: socket.socket) -> None:
    """Switch Nagle's algorithm off: with delayed acknowledgement it costs 40 ms a message."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class BoundedSocket(AssociationSocket):
    """Reads a PDU into one buffer, and none larger than was agreed; always closes."""

    @override
    def recv(self, nr_bytes: int) -> bytearray:
        if nr_bytes > LARGEST_PDU + _HEADROOM:
            msg = f"a PDU of {nr_bytes} bytes where {LARGEST_PDU} were agreed"
            raise OSError(msg)
        assert self.socket is not None
        buffer = bytearray(nr_bytes)
        with memoryview(buffer) as view:
            read = 0
            while read < nr_bytes and (count := self.socket.recv_into(view[read:])):
                read += count
        return buffer[:read]

    @override
    def _shutdown_socket(self) -> None:
        assert self.socket is not None
        super()._shutdown_socket()
        self.socket.close()  # which is left out there when the peer was first


def bound(association: Association) -> None:
    """Make the socket of an association a `BoundedSocket`.

    Another object cannot be set: making one tells the state machine of a connection.
    """
    association.dul.socket.__class__ = BoundedSocket


class _Handler(RequestHandler):
    """Starts an association on a prepared socket."""

    @override
    def _create_association(self) -> Association:
        association = super()._create_association()
        bound(association)
        return association


class _Server(ThreadedAssociationServer):
    """Greets each peer in its own thread, so that a slow TLS handshake holds up nobody."""

    request_queue_size = 128
    daemon_threads = True

    @override
    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        assert self.socket is not None
        connection, address = self.socket.accept()
        return connection, address

    @override
    def finish_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any
    ) -> None:
        assert isinstance(request, socket.socket)
        send_at_once(request)
        request.settimeout(self.ae.network_timeout)
        if self.ssl_context is not None:
            request = self.ssl_context.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    @override
    def handle_error(self, request: object, client_address: object) -> None:
        _log.warning("connection refused", exc_info=True)


def listen(
    ae: ApplicationEntity,
    address: tuple[str, int],
    handlers: Sequence[EventHandlerType],
    *,
    tls: ssl.SSLContext | None = None,
) -> ThreadedAssociationServer:
    """Bind, and accept associations in a thread of its own until `shutdown`."""
    _config.LOG_HANDLER_LEVEL = "none"  # those handlers render every message, patients included
    server = ae.make_server(
        address,
        contexts=supported_contexts(),  # through `ae` they would lose their class
        ssl_context=tls,
        evt_handlers=list(handlers),
        server_class=_Server,
        request_handler=_Handler,
    )
    ae._servers.append(server)  # noqa: SLF001 - as `start_server` does; `shutdown` removes it
    threading.Thread(target=server.serve_forever, name="dicom listener", daemon=True).start()
    return server
