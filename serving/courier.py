"""Results to destinations: one attempt with proof, and how long to wait for the next."""

from collections.abc import Sequence

import structlog

from dicom_node.archive import Archive
from dicom_node.delivery import proof, send
from dicom_node.index import Index
from dicom_node.peers import Peer
from dicom_node.records import StoredInstance
from imaging.findings import ObjectRef
from serving.journal import Journal
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

    def attempt(self, destination: str, results: list[str], attempt: int) -> float | None:
        """Try once to bring `results` to `destination` and to prove that they are there.

        Returns seconds until the next attempt, ``None`` when nothing is left to do. What the
        destination already has is not sent again, so an attempt may be repeated.
        """
        peer = self._peers.get(destination)
        if peer is None:
            text = "the destination is no longer configured"
            self._journal.update_deliveries(results, destination, "failed", error=text)
            return None
        instances = [i for uid in results if (i := self._index.instance(uid)) is not None]
        missing = self._unproven(peer, instances)
        if not missing:
            return None
        paths = [self._archive.file(instance.path) for instance in missing]
        outcome = send(peer, paths, ae_title=self._settings.node.ae_title)
        if not peer.query:  # its success statuses are all there is
            taken = sorted(outcome.stored)
            self._journal.update_deliveries(taken, destination, "delivered", proof="C-STORE status")
        left = self._unproven(peer, missing)
        text = outcome.text or "sent, but the destination does not list it"
        return self._again(
            left, destination, attempt=attempt, problem=text, permanent=outcome.permanent
        )

    def _unproven(self, peer: Peer, instances: Sequence[StoredInstance]) -> list[StoredInstance]:
        """Note what the peer can be shown to have, and return the rest."""
        if not peer.query:
            taken = self._taken(peer, instances)
            return [instance for instance in instances if instance.instance_uid not in taken]
        refs = [
            ObjectRef(
                sop_class_uid=instance.sop_class_uid,
                instance_uid=instance.instance_uid,
                series_uid=instance.series_uid,
                study_uid=instance.study_uid,
            )
            for instance in instances
        ]
        proven = proof(peer, refs, ae_title=self._settings.node.ae_title)
        self._journal.update_deliveries(sorted(proven), peer.name, "proven", proof="C-FIND")
        return [instance for instance in instances if instance.instance_uid not in proven]

    def _taken(self, peer: Peer, instances: Sequence[StoredInstance]) -> frozenset[str]:
        """Return the results of these studies that a peer which cannot be asked has taken."""
        studies = {instance.study_uid for instance in instances}
        return frozenset(
            item.instance_uid
            for study_uid in studies
            for item in self._journal.deliveries(study_uid=study_uid, state="delivered")
            if item.destination == peer.name
        )

    def _again(
        self,
        left: Sequence[StoredInstance],
        destination: str,
        *,
        attempt: int,
        problem: str,
        permanent: bool,
    ) -> float | None:
        if not left:
            return None
        uids, limits = [instance.instance_uid for instance in left], self._settings.delivery
        first_s, longest_s = limits.first_retry_s, limits.longest_retry_s
        wait_s: float = min(first_s * 2 ** min(attempt, _MOST_DOUBLINGS), longest_s)
        too_long = attempt * longest_s > limits.give_up_days * _DAY_S
        if permanent or too_long:
            self._journal.update_deliveries(uids, destination, "failed", error=problem)
            return None
        _log.warning("delivery_waits", destination=destination, retry_in_s=wait_s, problem=problem)
        self._journal.update_deliveries(
            uids, destination, "waiting", error=problem, retry_in_s=wait_s
        )
        return wait_s
