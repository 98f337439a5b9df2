"""Asking peers for the images that a work item names (C-MOVE), where it names their series."""

import threading
from collections.abc import Callable, Sequence

import structlog

from dicom_node.peers import Peer
from dicom_node.scu import move_series
from imaging.dicom_json import JsonDataset
from imaging.identity import AETitle
from serving.ups.dataset import first, values
from serving.ups.rules import INPUT, STUDY

_AGAIN_S = 300.0
_SERIES, _RETRIEVAL, _TITLE = "0020000E", "0040E021", "00080054"
_log = structlog.get_logger(__name__)


class Fetching:
    """Asks in a thread of its own, for one work item at a time and not again for a while."""

    def __init__(
        self, peers: Sequence[Peer], *, ae_title: AETitle, clock: Callable[[], float]
    ) -> None:
        self._peers, self._ae_title, self._clock = peers, ae_title, clock
        self._asked: dict[str, float] = {}
        self._busy = threading.Lock()

    def ask(self, ups_uid: str, content: JsonDataset) -> None:
        """Have images sent to us by the peer that is named, else by those that answer queries."""
        named = [item for item in values(content, INPUT) if first(item, _SERIES)]
        if not named or self._asked.get(ups_uid, 0.0) > self._clock() - _AGAIN_S:
            return
        if self._busy.acquire(blocking=False):
            self._asked[ups_uid] = self._clock()
            threading.Thread(target=self._fetch, args=(named,), name="fetch", daemon=True).start()

    def _fetch(self, named: Sequence[JsonDataset]) -> None:
        try:
            for item in named:
                self._fetch_series(item)
        finally:
            self._busy.release()

    def _fetch_series(self, item: JsonDataset) -> None:
        study, series = first(item, STUDY), first(item, _SERIES)
        for peer in self._holding(set(values(item, _RETRIEVAL, _TITLE))):
            problem = move_series(peer, study, series, ae_title=self._ae_title)
            _log.info("asked_for_input", peer=peer.name, study=study, problem=problem or "none")
            if problem is None:
                return

    def _holding(self, titles: set[str]) -> Sequence[Peer]:
        named = [peer for peer in self._peers if peer.ae_title in titles]
        return named or [peer for peer in self._peers if peer.query]
