"""pynetdicom's upper layer, guarded: it reads no further than it should, and hears no nonsense."""

import logging
import threading
import time

from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_EVENT_REPORT, DimseServiceType
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import A_ABORT_RQ, _PDUType
from pynetdicom.pdu_primitives import A_P_ABORT
from typing_extensions import override

from dicom_node.budget import Budget, Who
from dicom_node.guard import P_DATA, Conversation, Fault, Refused
from dicom_node.limits import Limits

_log = logging.getLogger(__name__)
_N_EVENT_REPORT = 0x0100
_MOST_UNANSWERED = 2  # asynchronous operations are not negotiated
_FAREWELL_S = 1.0
_LONGEST_PAUSE_S = 0.05
_TURN_S, _IDLE_TURN_S, _BUSY_S = 0.001, 0.02, 0.5


class GuardedProvider(DULServiceProvider):
    """Checks each PDU, and leaves in the socket what nobody has time for.

    So a peer that sends message after message without waiting for answers fills no memory.
    """

    def guard(self, limits: Limits, budget: Budget, who: Who) -> None:
        """Begin, as one object of this class is made of another."""
        self._conversation = Conversation(limits)
        self._budget, self._who = budget, who
        self._fault: Fault | None = None
        self._reports, self._lock = 0, threading.Lock()
        self._heard_at, self._left_at = time.monotonic(), 0.0
        self._act = self.state_machine.do_action
        self.state_machine.do_action = self._act_or_end  # type: ignore[method-assign]

    @property
    def is_idle(self) -> bool:
        """Whether nothing has been said for a while, or nothing more is heard for now."""
        silent = time.monotonic() - self._heard_at > _BUSY_S
        return silent or self._budget.wait_s(self._who) > _LONGEST_PAUSE_S

    def _act_or_end(self, event: str) -> None:
        """Do what an event asks for; what nobody foresaw ends the association, not this thread."""
        try:
            with self._budget.spending(self._who):
                self._act(event)
        except Exception as error:  # noqa: BLE001 - see above
            self._refuse(Refused(Fault.NOT_SPECIFIED, f"{type(error).__name__} at {event}"))
            if self.socket is not None:
                self.socket.close()
            self.to_user_queue.put(A_P_ABORT())
            self._kill_thread = True

    def report_answered(self) -> None:
        """Make room for another N-EVENT-REPORT; each is served in a thread of its own."""
        with self._lock:
            self._reports -= 1

    @property  # type: ignore[explicit-override]
    def _run_loop_delay(self) -> float:
        """Seconds between two looks: longer when nothing has been said for a while."""
        return _IDLE_TURN_S if self.is_idle else _TURN_S

    @_run_loop_delay.setter
    def _run_loop_delay(self, _value: float) -> None:
        """Set once by pynetdicom."""

    @override
    def _is_transport_event(self) -> bool:
        if self._fault is None and self._conversation.is_late:
            self._refuse(Refused(Fault.NOT_SPECIFIED, "the message comes too slowly"))
            self.event_queue.put("Evt19")
            return False
        if self.state_machine.current_state == "Sta13":
            self._leave()
        if self._must_wait():
            return False
        with self._budget.spending(self._who):
            return super()._is_transport_event()

    def _leave(self) -> None:
        """Give a peer whose association has ended a moment to close; who goes on talking is cut."""
        now = time.monotonic()
        self._left_at = self._left_at or now
        if now - self._left_at > _FAREWELL_S and self.socket is not None:
            self.socket.close()

    def _must_wait(self) -> bool:
        """Whether what comes now is too early: we have not acted, accepted or answered yet."""
        if not self.event_queue.empty():
            return True
        match self.state_machine.current_state:
            case "Sta3":
                return True
            case "Sta6":
                waiting = self.assoc.dimse.msg_queue.qsize() + self._reports
                return waiting >= _MOST_UNANSWERED or self._has_spent_all()
            case _:
                return False

    def _has_spent_all(self) -> bool:
        """Whether the peer must wait for time of ours; a moment of it is waited here."""
        wait_s = self._budget.wait_s(self._who)
        if wait_s:
            time.sleep(min(wait_s, _LONGEST_PAUSE_S))
        return wait_s > _LONGEST_PAUSE_S

    @override
    def _decode_pdu(self, bytestream: bytearray) -> tuple[_PDUType, str]:
        self._heard_at = time.monotonic()
        if bytestream[0] == P_DATA and self.state_machine.current_state == "Sta6":
            self._hear(bytes(bytestream))
        return super()._decode_pdu(bytestream)

    def _hear(self, pdu: bytes) -> None:
        try:
            accepted = frozenset(self.assoc._accepted_cx)  # noqa: SLF001
            command = self._conversation.hear(pdu, accepted)
        except Refused as refused:
            self._refuse(refused)
            raise
        if command == _N_EVENT_REPORT:
            with self._lock:
                self._reports += 1

    def _refuse(self, refused: Refused) -> None:
        self._fault = refused.fault
        requestor = self.assoc.requestor
        _log.warning(
            "association aborted",
            extra={
                "calling_ae": requestor.ae_title,
                "address": requestor.address,
                "why": str(refused),
            },
        )

    @override
    def _send(self, pdu: _PDUType) -> None:
        if isinstance(pdu, A_ABORT_RQ) and self._fault is not None:
            pdu.source, pdu.reason_diagnostic = 2, self._fault
        super()._send(pdu)


class _Checkpoint(threading.Event):
    """Where the thread of an association passes a thousand times a second; less often if idle."""

    provider: GuardedProvider

    @override
    def wait(self, timeout: float | None = None) -> bool:
        if self.provider.is_idle:
            time.sleep(_IDLE_TURN_S)
        return super().wait(timeout)


def guarded(association: Association, limits: Limits, *, budget: Budget, who: Who) -> None:
    """Guard an association that has not begun.

    Other objects cannot be set: making a provider makes a thread.
    """
    association.dul.__class__ = GuardedProvider
    provider = association.dul
    assert isinstance(provider, GuardedProvider)
    provider.guard(limits, budget, who)
    checkpoint = _Checkpoint()
    checkpoint.provider = provider
    checkpoint.set()
    association._reactor_checkpoint = checkpoint  # noqa: SLF001
    serve, negotiate = association._serve_request, association.acse.negotiate_association  # noqa: SLF001

    def negotiated() -> None:
        with budget.spending(who):
            negotiate()

    def served(message: DimseServiceType, context_id: int) -> None:
        try:
            with budget.spending(who, clock=time.monotonic):  # it may be the disk that is busy
                serve(message, context_id)
        finally:
            if isinstance(message, N_EVENT_REPORT) and message.is_valid_request:
                provider.report_answered()

    association.acse.negotiate_association = negotiated  # type: ignore[method-assign]
    association._serve_request = served  # type: ignore[method-assign, assignment]  # noqa: SLF001
