"""pynetdicom's association server, made quick to set up and safe against slow or greedy peers.

Leans on the inside of pynetdicom, which is why one exact version of it is required.
"""

import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from pynetdicom import AllStoragePresentationContexts, _config
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.events import EventHandlerType
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer
from typing_extensions import override

from dicom_node.budget import Budget, Who
from dicom_node.connection import BoundedSocket, WaitingRoom, association_request, send_at_once
from dicom_node.guard import Refused, calling_title
from dicom_node.limits import Limits
from dicom_node.peers import Channel
from dicom_node.provider import guarded
from dicom_node.tls import peer_certificate, said

_log = logging.getLogger(__name__)
STANDARD = Limits()
_GREETING_PAUSE_S = 0.25
# What threads cost beside their own work: making them, switching to them, ending them.
_CONNECTION_S, _ASSOCIATION_S = 0.002, 0.01
LARGEST_PDU = STANDARD.pdu_bytes

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


QUERIES = (StudyRootQueryRetrieveInformationModelFind,)
RETRIEVALS = (
    StudyRootQueryRetrieveInformationModelMove,
    StudyRootQueryRetrieveInformationModelGet,
)


class SharedContexts(list[PresentationContext]):
    """Supported contexts that all associations share.

    pynetdicom copies them for each association, 50 ms for 170 SOP classes, and never changes them.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> "SharedContexts":
        return self


def supported_contexts() -> SharedContexts:
    """Return Verification, storage, commitment, query and retrieval; storage in all syntaxes."""
    storage = [
        build_context(context.abstract_syntax, list(TRANSFER_SYNTAXES))
        for context in AllStoragePresentationContexts
        if context.abstract_syntax is not None
    ]
    commitment = build_context(StorageCommitmentPushModel)
    commitment.scu_role = commitment.scp_role = True  # peers ask us, and answer what we asked
    for context in storage:
        context.scu_role = context.scp_role = True  # who fetches by C-GET is sent to
    others = [build_context(uid) for uid in (*QUERIES, *RETRIEVALS)]
    return SharedContexts([build_context(Verification), *storage, commitment, *others])


def bound(association: Association, limits: Limits = STANDARD) -> BoundedSocket:
    """Make the socket of an association a `BoundedSocket`, and return it.

    Another object cannot be set: making one tells the state machine of a connection.
    """
    wrapped = association.dul.socket
    wrapped.__class__ = BoundedSocket
    assert isinstance(wrapped, BoundedSocket)
    wrapped.limits = limits
    return wrapped


def channel_of(association: Association) -> Channel:
    """Return how the requestor of an association reached us."""
    address, wrapped = association.requestor.address, association.dul.socket
    connection = wrapped.socket if wrapped is not None else None
    if not isinstance(connection, ssl.SSLSocket):
        return Channel(address=address)
    return Channel(address=address, tls=True, certificate=peer_certificate(connection))


class _Handler(RequestHandler):
    """Starts an association on a connection that has asked for one."""

    def __init__(self, *arguments: Any, limits: Limits, budget: Budget, ahead: bytes) -> None:
        self._limits, self._budget, self._ahead = limits, budget, ahead
        super().__init__(*arguments)

    @override
    def _create_association(self) -> Association:
        association = super()._create_association()
        bound(association, self._limits).ahead = self._ahead
        who = Who(association.requestor.address, calling_title(self._ahead))
        self._budget.spend(who, _ASSOCIATION_S)
        guarded(association, self._limits, budget=self._budget, who=who)
        return association


class _Server(ThreadedAssociationServer):
    """Greets each peer in its own thread, so that a slow one holds up nobody."""

    request_queue_size = 128
    daemon_threads = True
    limits = STANDARD
    tls: Callable[[], ssl.SSLContext] | None = None
    waiting_room: WaitingRoom
    budget: Budget

    @override
    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        assert self.socket is not None
        connection, address = self.socket.accept()
        return connection, address

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        """Turn away, before a thread is made for it, what floods us."""
        who = Who(client_address[0])
        if self.budget.wait_s(who) and self.waiting_room.is_crowded_by(who.address):
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    @override
    def service_actions(self) -> None:
        """Leave out the collection of garbage, which pynetdicom does at every 60th connection.

        It stops all threads for as long as it takes, so whoever connects often would stop us.
        """

    @override
    def finish_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any
    ) -> None:
        assert isinstance(request, socket.socket)
        send_at_once(request)
        who = Who(client_address[0])
        self.budget.spend(who, _CONNECTION_S)
        with self.budget.spending(who):
            with self.waiting_room.place(request, who.address):
                time.sleep(min(self.budget.wait_s(who), _GREETING_PAUSE_S))
                connection, ahead = self._greet(request)
            connection.settimeout(self.limits.idle_s)
            _Handler(
                *(connection, client_address, self),
                limits=self.limits,
                budget=self.budget,
                ahead=ahead,
            )

    def _greet(self, connection: socket.socket) -> tuple[socket.socket, bytes]:
        """Return the connection, with TLS where that is wanted, and the association request."""
        until = time.monotonic() + self.limits.associate_s
        connection.settimeout(self.limits.associate_s)
        if self.tls is not None:
            connection = self.tls().wrap_socket(connection, server_side=True)
        try:
            return connection, association_request(connection, self.limits, until=until)
        except BaseException:
            connection.close()
            raise

    @override
    def handle_error(self, request: object, client_address: Any) -> None:
        error = sys.exception()
        why = said(error) if isinstance(error, ssl.SSLError) else str(error)
        known = isinstance(error, Refused | OSError)
        _log.warning(
            "connection refused",
            extra={"address": client_address[0], "why": why},
            exc_info=None if known else error,
        )


def listen(
    ae: ApplicationEntity,
    address: tuple[str, int],
    handlers: Sequence[EventHandlerType],
    *,
    limits: Limits = STANDARD,
    budget: Budget | None = None,
    tls: Callable[[], ssl.SSLContext] | None = None,
) -> ThreadedAssociationServer:
    """Bind, and accept associations in a thread of its own until `shutdown`.

    `tls` gives the context of each new connection.
    """
    _config.LOG_HANDLER_LEVEL = "none"  # those handlers render every message, patients included
    server = ae.make_server(
        address,
        contexts=supported_contexts(),  # through `ae` they would lose their class
        evt_handlers=list(handlers),
        server_class=_Server,
        request_handler=_Handler,
    )
    assert isinstance(server, _Server)
    server.limits, server.tls = limits, tls
    server.waiting_room, server.budget = WaitingRoom(limits.half_open), budget or Budget()
    ae._servers.append(server)  # noqa: SLF001 - as `start_server` does; `shutdown` removes it
    threading.Thread(target=server.serve_forever, name="dicom listener", daemon=True).start()
    return server
