"""Asking the PACS to send again what it has more of than we received (C-MOVE, PS3.4 C.4.2)."""

import logging
import threading
from collections.abc import Sequence

from dicom_node.peers import AssociationPolicy, Peer
from dicom_node.records import StudyRow
from dicom_node.scu import Timeouts, move_series

_log = logging.getLogger(__name__)


class Retriever:
    """Asks the sender of a study, if it answers queries, else the other peers that do.

    The request runs in a thread of its own, because a peer answers it only when it has sent all; a
    study whose last request still runs is not asked for again.
    """

    def __init__(self, policy: AssociationPolicy, *, timeouts: Timeouts | None = None) -> None:
        self._policy, self._timeouts = policy, timeouts
        self._running: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, study: StudyRow, series_uids: Sequence[str]) -> None:
        """Start asking for whole series of a study to be sent to us."""
        with self._lock:
            if study.study_uid in self._running:
                return
            self._running.add(study.study_uid)
        arguments = (study, tuple(series_uids))
        threading.Thread(target=self._ask, args=arguments, name="retrieve", daemon=True).start()

    def _ask(self, study: StudyRow, series_uids: Sequence[str]) -> None:
        try:
            for peer in self._policy.answering(study.sender, study.sender_address):
                if all(self._move(peer, study.study_uid, uid) for uid in series_uids):
                    return
        finally:
            with self._lock:
                self._running.discard(study.study_uid)

    def _move(self, peer: Peer, study_uid: str, series_uid: str) -> bool:
        problem = move_series(
            peer, study_uid, series_uid, ae_title=self._policy.ae_title, timeouts=self._timeouts
        )
        _log.info(
            "asked to send again",
            extra={"peer": peer.name, "study": study_uid, "problem": problem or "none"},
        )
        return problem is None
