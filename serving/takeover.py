"""Takes over the work of dead workers, so that a slot which stays dead keeps nothing back."""

from collections import Counter
from collections.abc import Callable

import structlog

from imaging.errors import SetupError
from serving.slots import Slots

_log = structlog.get_logger(__name__)
LOOK_S = 1.5
_LOOKS = 3  # a slot free so often is dead, and not just being started again


class Takeover:
    """Looks for dead slots that have work, one look after the other.

    `busy` gives the slots that have unfinished work, `take_over` lets one's work go on in a live
    worker and returns the ids of that work.
    """

    def __init__(
        self,
        slots: Slots,
        busy: Callable[[], frozenset[str]],
        take_over: Callable[[str], tuple[str, ...]],
    ) -> None:
        self._slots, self._busy, self._take_over = slots, busy, take_over
        self._free: Counter[str] = Counter()

    def look(self) -> None:
        """Look once; call it every `LOOK_S` seconds."""
        free = self._busy().difference(self._slots.held())
        self._free = Counter({slot: self._free[slot] + 1 for slot in free})
        for slot in sorted(free):
            if self._free[slot] >= _LOOKS:
                self._take(slot)

    def _take(self, slot: str) -> None:
        """Take over while holding the slot: it cannot come back meanwhile, nor another do this."""
        try:
            with self._slots.taken(slot):
                taken = self._take_over(slot)
        except SetupError:  # it has come back, or another was quicker
            return
        _log.warning("work_taken_over", slot=slot, work=len(taken))
