"""The storage SCP: associations, C-ECHO and C-STORE."""

import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydicom import Dataset
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event, EventHandlerType
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.transport import ThreadedAssociationServer

from dicom_node.archive import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION
from dicom_node.audit.auditor import Silent
from dicom_node.audit.message import Actor
from dicom_node.audit.peers import PeerAudit
from dicom_node.budget import Budget, Who
from dicom_node.ingest import Ingest, Stored
from dicom_node.limits import Limits
from dicom_node.listener import QUERIES, RETRIEVALS, STANDARD, channel_of, listen
from dicom_node.peers import NO_ROOM, TOO_MANY, AssociationPolicy, Rejection
from dicom_node.status import Status, status_of
from imaging.errors import (
    MalformedInstance,
    NotAuthorized,
    SopClassNotSupported,
    StorageFull,
    WetreadError,
)
from imaging.priority import HIGH

_log = logging.getLogger(__name__)
_COMMAND_HIGH = 1  # Priority (0000,0700), PS3.7 E.1
_COMMENT = 64  # Error Comment (0000,0902) is LO
_STOP_POLL_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where the node listens and what it bears: without TLS on `port`, with it on `tls_port`.

    ``None`` is no port. `tls` gives the context of each new connection.
    """

    host: str = "0.0.0.0"  # noqa: S104 - peers are other machines; the policy says which
    port: int | None = 11112
    tls_port: int | None = None
    tls: Callable[[], ssl.SSLContext] | None = None
    limits: Limits = STANDARD


class Node:
    """The listening application entity.

    `on_release` is told which studies got something new when the association that brought it ends,
    in whatever way. `services`: handlers of services beside storage. `audit` is told what peers do.
    """

    def __init__(
        self,
        ingest: Ingest,
        policy: AssociationPolicy,
        on_release: Callable[[frozenset[str]], None],
        *,
        listening: Listening,
        services: Sequence[EventHandlerType] = (),
        audit: PeerAudit | None = None,
    ) -> None:
        self._ingest, self._policy, self._on_release = ingest, policy, on_release
        self._listening, self._services = listening, services
        self._audit = audit or PeerAudit(Silent(), Actor(user="node"))
        self._ae = self._entity()
        self._plain: ThreadedAssociationServer | None = None
        self._secure: ThreadedAssociationServer | None = None
        self._brought: dict[Association, set[str]] = {}
        self._budget = Budget()
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        """The port listened on without TLS, also when 0 (any) was asked for."""
        return _port(self._plain)

    @property
    def tls_port(self) -> int:
        """The port listened on with TLS."""
        return _port(self._secure)

    def start(self) -> None:
        """Listen from now on; `OSError` when a port is taken."""
        handlers: list[EventHandlerType] = [
            (evt.EVT_REQUESTED, self._admit),
            (evt.EVT_C_ECHO, self._echo),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_RELEASED, self._ended),
            (evt.EVT_ABORTED, self._ended),
            (evt.EVT_CONN_CLOSE, self._ended),
            *self._services,
        ]
        where = self._listening
        if where.port is not None:
            self._plain = self._listen(where.port, handlers)
        if where.tls_port is not None:
            assert where.tls is not None, "TLS needs a context"
            self._secure = self._listen(where.tls_port, handlers, tls=where.tls)

    def stop(self, *, grace_s: float = 5.0) -> None:
        """Accept no more; let open associations end, abort those that last beyond `grace_s`."""
        for server in (self._plain, self._secure):
            if server is not None:
                server.shutdown()
        deadline = time.monotonic() + grace_s
        while self._ae.active_associations and time.monotonic() < deadline:
            time.sleep(_STOP_POLL_S)
        self._ae.shutdown()
        self._audit.ended(None)
        self._plain = self._secure = None

    def _listen(
        self,
        port: int,
        handlers: Sequence[EventHandlerType],
        *,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> ThreadedAssociationServer:
        where = self._listening
        server = listen(
            self._ae,
            (where.host, port),
            handlers,
            limits=where.limits,
            budget=self._budget,
            tls=tls,
        )
        said = {"ae_title": self._policy.ae_title, "port": _port(server), "tls": tls is not None}
        _log.info("listening", extra=said)
        return server

    def _entity(self) -> ApplicationEntity:
        ae = ApplicationEntity(self._policy.ae_title)
        ae.implementation_class_uid = IMPLEMENTATION_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION
        limits = self._listening.limits
        ae.maximum_associations = limits.associations
        ae.maximum_pdu_size = limits.pdu_bytes
        ae.network_timeout, ae.acse_timeout = limits.idle_s, limits.associate_s
        return ae

    def _admit(self, event: Event) -> None:
        requestor = event.assoc.requestor
        assert isinstance(requestor.primitive, A_ASSOCIATE)
        calling, called = requestor.primitive.calling_ae_title, requestor.primitive.called_ae_title
        refusal = (
            self._policy.refusal(calling, called, channel_of(event.assoc))
            or self._too_many(event.assoc)
            or self._no_room()
        )
        if refusal is None:
            self._leave_out_what_it_may_not(event.assoc, calling)
            return
        _log.warning(
            "association refused",
            extra={"calling_ae": calling, "address": requestor.address, "why": refusal.text},
        )
        self._audit.refused(calling, requestor.address, refusal.text)
        event.assoc.acse.send_reject(refusal.result, refusal.source, refusal.reason)
        event.assoc.kill()  # returns once the answer is out; else the socket closes before it

    def _leave_out_what_it_may_not(self, asking: Association, calling: str) -> None:
        """Accept no presentation context of a service that this peer may not use."""
        address = asking.requestor.address
        barred: set[str] = set()
        if not self._policy.may_query(calling, address):
            barred.update(QUERIES)
        if not self._policy.may_retrieve(calling, address):
            barred.update(RETRIEVALS)
        contexts = asking.acceptor.supported_contexts
        asking.acceptor.supported_contexts = [
            each for each in contexts if each.abstract_syntax not in barred
        ]

    def _too_many(self, asking: Association) -> Rejection | None:
        """Refuse a peer that has as many associations as it may; others still get theirs."""
        primitive, address = asking.requestor.primitive, asking.requestor.address
        assert isinstance(primitive, A_ASSOCIATE)
        wanted = (primitive.calling_ae_title.strip(), address)
        there = [
            other
            for other in self._ae.active_associations
            if other.is_established
            and (other.requestor.ae_title.strip(), other.requestor.address) == wanted
        ]
        full = len(there) >= self._listening.limits.associations_of_peer
        return TOO_MANY if full else None

    def _no_room(self) -> Rejection | None:
        try:
            self._ingest.require_space()
        except StorageFull:
            return NO_ROOM
        return None

    def _echo(self, _event: Event) -> int:
        return Status.SUCCESS

    def _store(self, event: Event) -> int | Dataset:
        began = time.monotonic()
        try:
            stored = self._keep(event)
        except WetreadError as error:
            self._audit.failed(event)
            self._log_refusal(event, error)
            return _answer(status_of(error), str(error))
        self._audit.stored(event, stored)
        requestor = event.assoc.requestor
        who = Who(requestor.address, requestor.ae_title.strip())
        self._budget.earn(who, time.monotonic() - began)
        if stored.wakes_study:
            with self._lock:
                self._brought.setdefault(event.assoc, set()).add(stored.record.study_uid)
        return Status.SUCCESS

    def _keep(self, event: Event) -> Stored:
        request, requestor = event.request, event.assoc.requestor
        assert isinstance(request, C_STORE)
        if not self._policy.may_store(requestor.ae_title, requestor.address):
            raise NotAuthorized
        if request.AffectedSOPClassUID != event.context.abstract_syntax:
            raise SopClassNotSupported
        if request.DataSet is None:
            msg = "there is no data set"
            raise MalformedInstance(msg)
        stored = self._ingest.store(
            request.DataSet.getvalue(),
            sop_class_uid=str(request.AffectedSOPClassUID),
            instance_uid=str(request.AffectedSOPInstanceUID),
            transfer_syntax_uid=str(event.context.transfer_syntax),
            calling_ae=requestor.ae_title,
            address=requestor.address,
        )
        # LOW is what some toolkits send when nobody chose it, so only HIGH says something.
        if request.Priority == _COMMAND_HIGH and stored.wakes_study:
            self._ingest.hasten(stored.record.study_uid, HIGH)
        return stored

    def _log_refusal(self, event: Event, error: WetreadError) -> None:
        assert isinstance(event.request, C_STORE)
        _log.warning(
            "instance refused",
            extra={
                "calling_ae": event.assoc.requestor.ae_title,
                "address": event.assoc.requestor.address,
                "instance": event.request.AffectedSOPInstanceUID,
                "status": f"{status_of(error):04X}",
                "why": type(error).__name__,
            },
        )

    def _ended(self, event: Event) -> None:
        with self._lock:
            study_uids = self._brought.pop(event.assoc, None)
        self._audit.ended(event.assoc)
        if study_uids:
            self._on_release(frozenset(study_uids))


def _port(server: ThreadedAssociationServer | None) -> int:
    assert server is not None, "the node does not listen there"
    return int(server.server_address[1])


def _answer(status: Status, comment: str) -> Dataset:
    ds = Dataset()
    ds.Status = status
    ds.ErrorComment = comment.encode("ascii", "replace").decode()[:_COMMENT]
    return ds
