"""Storage commitment as provider: requests are kept, then answered for what is really here."""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from pydicom import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.events import Event, EventHandlerType
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.archive import Archive
from dicom_node.commitment import (
    CLASS_INSTANCE_CONFLICT,
    NO_SUCH_INSTANCE,
    REQUEST,
    WELL_KNOWN_INSTANCE,
    Answer,
    Named,
    reporting,
    requested,
    tell,
    tell_on,
)
from dicom_node.index import Index
from dicom_node.peers import AssociationPolicy
from dicom_node.scu import Timeouts
from dicom_node.transactions import Request, Transactions
from imaging.errors import MalformedInstance

_log = logging.getLogger(__name__)
_TURN_S = 0.5
_GRACE_S = 0.5  # the answer to N-ACTION goes first, and many peers release right behind it
_FIRST_RETRY_S, _LONGEST_RETRY_S = 5.0, 300.0
_MOST_DOUBLINGS = 10
_AT_ONCE = 4
_SUCCESS, _NO_SUCH_ACTION, _INVALID_ARGUMENT = 0x0000, 0x0123, 0x0115
_NOT_AUTHORIZED, _RESOURCE_LIMITATION = 0x0124, 0x0213


class CommitmentProvider:
    """Answers peers' requests, and notes peers' answers to ours."""

    def __init__(
        self,
        index: Index,
        archive: Archive,
        transactions: Transactions,
        *,
        policy: AssociationPolicy,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._index, self._archive, self._transactions = index, archive, transactions
        self._policy, self._timeouts = policy, timeouts or Timeouts()
        self._busy: set[tuple[str, str]] = set()
        self._open: dict[tuple[str, str], tuple[Association, float]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="commitment", daemon=True)

    def handlers(self) -> list[EventHandlerType]:
        """Return the handlers for the listener."""
        return [
            (evt.EVT_N_ACTION, self._request),
            (evt.EVT_N_EVENT_REPORT, reporting(self._transactions.note)),
        ]

    def start(self) -> None:
        """Answer from now on, what an earlier process left unanswered too."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more; what is left is answered after the next start."""
        self._stop.set()
        self._thread.join()

    def answer(self, request: Request) -> Answer:
        """Return what we answer for: in the index, of that class, and its bytes in the archive."""
        judged = {named: self._fault(named) for named in request.named}
        return Answer(
            transaction_uid=request.transaction_uid,
            kept=tuple(named for named, why in judged.items() if why is None),
            failed={named: why for named, why in judged.items() if why is not None},
        )

    def _request(self, event: Event) -> tuple[int, None]:
        requestor = event.assoc.requestor
        if not self._policy.may_commit(requestor.ae_title, requestor.address):
            return _NOT_AUTHORIZED, None
        if event.action_type != REQUEST:
            return _NO_SUCH_ACTION, None
        if str(getattr(event.request, "RequestedSOPInstanceUID", "")) != WELL_KNOWN_INSTANCE:
            return NO_SUCH_INSTANCE, None
        return self._keep(event.assoc, event.action_information), None

    def _keep(self, opened: Association, information: Dataset) -> int:
        calling = opened.requestor.ae_title
        try:
            transaction_uid, named = requested(information)
        except MalformedInstance:
            return _INVALID_ARGUMENT
        try:
            self._open[transaction_uid, calling] = opened, time.monotonic() + _GRACE_S
            self._transactions.receive(
                transaction_uid, named, calling_ae=calling, address=opened.requestor.address
            )
        except SQLAlchemyError:
            self._open.pop((transaction_uid, calling), None)
            _log.exception("commitment request not kept", extra={"calling_ae": calling})
            return _RESOURCE_LIMITATION
        return _SUCCESS

    def _fault(self, named: Named) -> int | None:
        stored = self._index.instance(named.instance_uid)
        if stored is None:
            return NO_SUCH_INSTANCE
        if stored.sop_class_uid != named.sop_class_uid:
            return CLASS_INSTANCE_CONFLICT
        try:
            whole = self._archive.file(stored.path).stat().st_size >= stored.size
        except OSError:
            whole = False
        return None if whole else NO_SUCH_INSTANCE

    def _run(self) -> None:
        with ThreadPoolExecutor(_AT_ONCE, "commitment") as pool:
            while not self._stop.wait(_TURN_S):
                try:
                    self._turn(pool)
                except SQLAlchemyError:
                    _log.exception("commitment fails")

    def _turn(self, pool: ThreadPoolExecutor) -> None:
        """Answer what is due, each peer in a thread of its own: one that is down holds up none."""
        peers: dict[tuple[str, str], list[Request]] = defaultdict(list)
        for request in self._transactions.due():
            if time.monotonic() >= self._opened(request)[1]:
                peers[request.calling_ae, request.address].append(request)
        for peer in peers.keys() - self._busy:
            self._busy.add(peer)
            pool.submit(self._tell_peer, peer, peers[peer])

    def _tell_peer(self, peer: tuple[str, str], requests: Sequence[Request]) -> None:
        try:
            self._tell_all(requests)
        except SQLAlchemyError:
            _log.exception("commitment fails")
        finally:
            self._busy.discard(peer)

    def _tell_all(self, requests: Sequence[Request]) -> None:
        for request in requests:
            problem = self._tell(request)
            self._open.pop((request.transaction_uid, request.calling_ae), None)
            doubled = _FIRST_RETRY_S * 2 ** min(request.attempts, _MOST_DOUBLINGS)
            self._transactions.told(request, problem, retry_in_s=min(doubled, _LONGEST_RETRY_S))
            if problem:
                _log.warning(
                    "commitment not told", extra={"calling_ae": request.calling_ae, "why": problem}
                )
                return  # the others would fare no better

    def _tell(self, request: Request) -> str | None:
        answer, opened = self.answer(request), self._opened(request)[0]
        if opened is not None and opened.is_established and tell_on(opened, answer) is None:
            return None
        peer = self._policy.peer(request.calling_ae, request.address)
        if peer is None or "/" in peer.host:
            return "the requester cannot be called"
        return tell(peer, answer, ae_title=self._policy.ae_title, timeouts=self._timeouts)

    def _opened(self, request: Request) -> tuple[Association | None, float]:
        return self._open.get((request.transaction_uid, request.calling_ae), (None, 0.0))
