"""Storage commitment as requester: a peer is asked to answer for what it was sent."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from pynetdicom import evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from dicom_node.commitment import REQUEST, WELL_KNOWN_INSTANCE, Named, reporting, request, said
from dicom_node.peers import Peer
from dicom_node.scu import Timeouts, association, problem
from dicom_node.transactions import Transactions
from imaging.identity import AETitle

_SUCCESS = 0x0000
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of a request. `offered`: the peer has the service at all.

    `problem` is empty when it took the request, which it answers under `transaction_uid`.
    """

    transaction_uid: str
    problem: str = ""
    offered: bool = True


class Requester:
    """Asks peers; answers are noted as rows, whoever receives them."""

    def __init__(
        self, transactions: Transactions, *, ae_title: AETitle, timeouts: Timeouts
    ) -> None:
        self._transactions, self._title, self._timeouts = transactions, ae_title, timeouts

    def ask(self, peer: Peer, named: Sequence[Named], *, wait_s: float) -> Taken:
        """Ask `peer` to keep instances; wait so long for its answer, wherever that arrives."""
        uid = f"2.25.{uuid.uuid4().int}"  # nobody can guess it
        self._transactions.ask(uid, peer.name)
        answers = (evt.EVT_N_EVENT_REPORT, reporting(self._transactions.note))
        contexts = [build_context(StorageCommitmentPushModel)]
        with association(
            peer, contexts, self._title, timeouts=self._timeouts, handlers=[answers]
        ) as opened:
            if opened.rejected_contexts:
                return Taken(transaction_uid=uid, problem="not offered", offered=False)
            if not opened.is_established:
                return Taken(transaction_uid=uid, problem=problem(opened))
            status, _ = opened.send_n_action(
                request(uid, named), REQUEST, StorageCommitmentPushModel, WELL_KNOWN_INSTANCE
            )
            if status.get("Status") != _SUCCESS:
                return Taken(transaction_uid=uid, problem=said("N-ACTION", status))
            self._await_answer(uid, wait_s)
        return Taken(transaction_uid=uid)

    def _await_answer(self, transaction_uid: str, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            asked = self._transactions.asked(transaction_uid)
            if asked is None or asked.answered_at is not None:
                return
            time.sleep(_LOOK_S)
