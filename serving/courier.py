"""Results to destinations: one attempt with proof, and how long to wait for the next."""

import time
from collections.abc import Sequence

import structlog

from dicom_node.archive import Archive
from dicom_node.delivery import SendOutcome, proof, send
from dicom_node.index import Index
from dicom_node.peers import Peer
from dicom_node.records import StoredInstance
from dicom_node.scu import Timeouts, echo
from imaging.findings import ObjectRef
from serving.journal import Journal
from serving.records import Delivery
from serving.settings import Settings

_log = structlog.get_logger(__name__)
_DAY_S = 86400.0
_MOST_DOUBLINGS = 20


class Courier:
    """Brings stored results to configured peers."""

    def __init__(
        self, *, settings: Settings, index: Index, archive: Archive, journal: Journal
    ) -> None:
        self._settings, self._index, self._archive = settings, index, archive
        self._journal = journal
        self._peers = {peer.name: peer for peer in settings.peers}
        self._title = settings.node.ae_title
        limits = settings.delivery
        self._timeouts = Timeouts(connect_s=limits.connect_s, reply_s=limits.reply_s)

    def probe(self, destination: str) -> str | None:
        """Return what is wrong with the way to a destination, ``None`` when it answers."""
        peer = self._peers.get(destination)
        if peer is None:
            return "the destination is no longer configured"
        connect_s = self._timeouts.connect_s
        return echo(
            peer, ae_title=self._title, timeouts=Timeouts(connect_s=connect_s, reply_s=connect_s)
        )

    def start_over(self, destination: str, results: list[str]) -> None:
        """Let what was refused or given up be tried anew."""
        self._journal.start_over(results, destination)

    def attempt(self, destination: str, results: list[str], attempt: int) -> float | None:
        """Try once to bring `results` to `destination` and to prove that they are there.

        Returns seconds until the next attempt, ``None`` when nothing is left to do. What the
        destination already has is not sent again, so an attempt may be repeated.
        """
        try:
            return self._attempt(destination, results, attempt)
        except Exception:  # noqa: BLE001 - whatever no part foresaw must not end a promise
            _log.exception("delivery_fails", destination=destination)
            return self._pause_s(attempt)

    def _attempt(self, destination: str, results: list[str], attempt: int) -> float | None:
        items = [d for d in self._journal.deliveries_of(results, destination) if _is_open(d)]
        peer = self._peers.get(destination)
        if peer is None:
            text = "the destination is no longer configured"
            self._journal.update_deliveries(_uids(items), destination, "failed", error=text)
            return None
        missing = self._unproven(peer, self._instances(items))
        if not missing:
            return None
        paths = [self._archive.file(instance.path) for instance in missing]
        outcome = send(peer, paths, ae_title=self._title, timeouts=self._timeouts)
        taken = sorted(outcome.stored)
        if not peer.query:  # its success statuses are all there is
            self._journal.update_deliveries(taken, destination, "delivered", proof="C-STORE status")
            left = [instance for instance in missing if instance.instance_uid not in taken]
        else:
            left = self._unproven(peer, missing) if outcome.statuses else missing
        refused = self._refuse(destination, left, outcome)
        waiting = [instance for instance in left if instance.instance_uid not in refused]
        since = min((item.planned_at for item in items), default=0.0)
        problem = outcome.text or "sent, but the destination does not list it"
        return self._again(waiting, destination, attempt=attempt, problem=problem, since=since)

    def _instances(self, items: Sequence[Delivery]) -> list[StoredInstance]:
        found = (self._index.instance(item.instance_uid) for item in items)
        return [instance for instance in found if instance is not None]

    def _unproven(self, peer: Peer, instances: Sequence[StoredInstance]) -> list[StoredInstance]:
        """Note what the peer can be shown to have, and return the rest."""
        if not instances:
            return []
        refs = [
            ObjectRef(
                sop_class_uid=instance.sop_class_uid,
                instance_uid=instance.instance_uid,
                series_uid=instance.series_uid,
                study_uid=instance.study_uid,
            )
            for instance in instances
        ]
        proven = proof(peer, refs, ae_title=self._title, timeouts=self._timeouts)
        self._journal.update_deliveries(sorted(proven), peer.name, "proven", proof="C-FIND")
        return [instance for instance in instances if instance.instance_uid not in proven]

    def _refuse(
        self, destination: str, left: Sequence[StoredInstance], outcome: SendOutcome
    ) -> frozenset[str]:
        """Note what the destination does not take for what it is; trying again is of no use."""
        refused = outcome.refused & {instance.instance_uid for instance in left}
        for uid in sorted(refused):
            text = outcome.words(uid)
            _log.warning("delivery_refused", destination=destination, instance=uid, problem=text)
            self._journal.update_deliveries([uid], destination, "refused", error=text)
        return refused

    def _again(
        self,
        left: Sequence[StoredInstance],
        destination: str,
        *,
        attempt: int,
        problem: str,
        since: float,
    ) -> float | None:
        if not left:
            return None
        uids, wait_s = [instance.instance_uid for instance in left], self._pause_s(attempt)
        if time.time() - since > self._settings.delivery.give_up_days * _DAY_S:
            self._journal.update_deliveries(uids, destination, "failed", error=problem)
            return None
        _log.warning("delivery_waits", destination=destination, retry_in_s=wait_s, problem=problem)
        self._journal.update_deliveries(
            uids, destination, "waiting", error=problem, retry_in_s=wait_s
        )
        return wait_s

    def _pause_s(self, attempt: int) -> float:
        limits = self._settings.delivery
        doubled: float = limits.first_retry_s * 2 ** min(attempt, _MOST_DOUBLINGS)
        return min(doubled, limits.longest_retry_s)


def _is_open(item: Delivery) -> bool:
    return item.state == "waiting"


def _uids(items: Sequence[Delivery]) -> list[str]:
    return [item.instance_uid for item in items]
