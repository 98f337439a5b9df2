"""Which peer is asked what a study should hold."""

from collections.abc import Callable, Mapping

from dicom_node.peers import AssociationPolicy
from dicom_node.records import StudyRow
from dicom_node.scu import Timeouts, series_counts
from imaging.errors import WetreadError

_REST_S = 10.0


class NoAnswerError(WetreadError):
    """Peers that take questions gave no answer: they may be down."""


class SeriesCounts:
    """Asks the sender of a study if it answers queries, else the other peers that do, in order.

    A peer that gives no answer is left alone for a while, so that one which is down does not hold
    up every study. `clock` gives Unix seconds.
    """

    def __init__(
        self,
        policy: AssociationPolicy,
        clock: Callable[[], float],
        *,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._policy, self._clock, self._timeouts = policy, clock, timeouts
        self._rests: dict[str, float] = {}

    def __call__(self, study: StudyRow) -> Mapping[str, int] | None:
        """Return the number of instances of each series; ``None`` if none may know the study.

        Raises
        ------
        NoAnswerError
            Peers were silent, and none that answered knows the study.
        """
        silent = []
        for peer in self._policy.answering(study.sender, study.sender_address):
            if self._clock() < self._rests.get(peer.name, 0.0):
                silent.append(peer.name)
                continue
            counts = series_counts(
                peer, study.study_uid, ae_title=self._policy.ae_title, timeouts=self._timeouts
            )
            if counts:
                return counts
            if counts is None:
                self._rests[peer.name] = self._clock() + _REST_S
                silent.append(peer.name)
        if silent:
            msg = f"no answer of {', '.join(silent)}"
            raise NoAnswerError(msg)
        return None
