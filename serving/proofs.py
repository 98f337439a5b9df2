"""The proof that a destination has what it was sent: storage commitment, else a query."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from dicom_node.commitment import Named
from dicom_node.commitment_scu import Requester
from dicom_node.peers import Peer
from dicom_node.records import StoredInstance
from dicom_node.scu import Timeouts
from dicom_node.transactions import Transactions
from dicom_node.ways import Destination, way_to
from imaging.findings import ObjectRef
from serving.journal import Journal
from serving.records import Delivery
from serving.settings import Settings

_ANSWER_S = 5.0  # most answers come within a second; later ones are found at the next attempt
_NO_PROOF = "C-STORE status"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A delivery and the instance that it brings."""

    item: Delivery
    instance: StoredInstance

    @property
    def uid(self) -> str:
        """SOP Instance UID."""
        return self.instance.instance_uid


class Proofs:
    """Asks destinations, and notes what they can be shown to have."""

    def __init__(self, *, settings: Settings, journal: Journal, transactions: Transactions) -> None:
        self._journal, self._transactions = journal, transactions
        self._commitment_s = settings.delivery.commitment_s
        self._title = settings.node.ae_title
        self._timeouts = Timeouts(
            connect_s=settings.delivery.connect_s, reply_s=settings.delivery.reply_s
        )
        self._requester = Requester(transactions, ae_title=self._title, timeouts=self._timeouts)

    def listed(self, peer: Destination, sent: Sequence[Sent], *, how: str = "") -> frozenset[str]:
        """Note and return what the peer, asked by a query, says it has."""
        if not sent or not peer.query:
            return frozenset()
        refs = [
            ObjectRef(
                sop_class_uid=each.instance.sop_class_uid,
                instance_uid=each.instance.instance_uid,
                series_uid=each.instance.series_uid,
                study_uid=each.instance.study_uid,
            )
            for each in sent
        ]
        way = way_to(peer, ae_title=self._title, timeouts=self._timeouts)
        there = way.listed(refs)
        self._journal.update_deliveries(sorted(there), peer.name, "proven", proof=how or way.how)
        return there

    def committed(self, peer: Peer, sent: Sequence[Sent]) -> dict[str, str]:
        """Ask for commitment to what has none yet, note the answers, and return what is wrong.

        Keys are the UIDs of what is not proven yet; an empty text means that an answer is awaited,
        another that it must be sent again.
        """
        new = [each for each in sent if each.item.transaction_uid is None]
        problems: dict[str, str] = {}
        if new:
            problems = self._ask(peer, new)
        for each in sent:
            if each not in new and each.item.transaction_uid:
                problems |= self._settled(peer, each, each.item.transaction_uid)
        return problems

    def _ask(self, peer: Peer, new: Sequence[Sent]) -> dict[str, str]:
        named = [
            Named(sop_class_uid=each.instance.sop_class_uid, instance_uid=each.uid) for each in new
        ]
        wait_s = min(_ANSWER_S, self._commitment_s)
        taken = self._requester.ask(peer, named, wait_s=wait_s)
        if not taken.offered:
            return self._without_commitment(peer, new, why="storage commitment is not offered")
        if taken.problem:
            return {each.uid: "" for each in new}
        uids = [each.uid for each in new]
        self._journal.note_transaction(uids, peer.name, taken.transaction_uid)
        problems: dict[str, str] = {}
        for each in new:
            problems |= self._settled(peer, each, taken.transaction_uid)
        return problems

    def _settled(self, peer: Peer, each: Sent, transaction_uid: str) -> dict[str, str]:
        asked = self._transactions.asked(transaction_uid)
        if asked is not None and asked.answered_at is not None:
            if why := asked.problem(each.uid):
                return {each.uid: why}
            how = "storage commitment"
            self._journal.update_deliveries([each.uid], peer.name, "proven", proof=how)
            return {}
        if asked is not None and time.time() - asked.asked_at < self._commitment_s:
            return {each.uid: ""}
        return self._without_commitment(peer, [each], why="no answer to storage commitment")

    def _without_commitment(self, peer: Peer, sent: Sequence[Sent], *, why: str) -> dict[str, str]:
        there = self.listed(peer, sent, how=f"C-FIND ({why})")
        left = [each.uid for each in sent if each.uid not in there]
        if peer.query:
            return dict.fromkeys(left, "sent, but the destination does not list it")
        self._journal.update_deliveries(left, peer.name, "delivered", proof=_NO_PROOF)
        return {}
