"""Processor time for peers: who brings what we keep is served first, the others share a little.

Without it a few connections that ask for nonsense take as much of this process as all who send
studies. What has not been earned comes out of one small bucket for all strangers together; while it
is empty they wait, and nothing they send is lost.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_BUCKET_S = 2.0  # so much at once, which is more than any sound peer needs until it has earned
_REFILL = 0.1  # then a tenth of one core
_LONGEST_WAIT_S = 1.0
_EARNED = 4.0  # times what it took to keep an instance
_MOST_EARNED_S = 5.0
_MOST_PEERS = 1000


@dataclass(frozen=True, slots=True)
class Who:
    """A requestor: where it is and, once it has said so, how it calls itself."""

    address: str
    calling_ae: str = ""


class Budget:
    """Seconds of processor time, earned and spent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bucket, self._filled_at = _BUCKET_S, time.monotonic()
        self._earned: OrderedDict[Who, float] = OrderedDict()

    def spend(self, who: Who, seconds: float) -> None:
        """Take it from what this peer has earned, and the rest from the bucket."""
        with self._lock:
            left = self._earned.get(who, 0.0) - seconds
            if who in self._earned:
                self._earned[who] = max(0.0, left)
            self._bucket += min(0.0, left)

    def earn(self, who: Who, seconds: float) -> None:
        """Reward a peer, and its address, for an instance that took so long to keep."""
        with self._lock:
            for each in (who, Who(who.address)):
                credit = self._earned.pop(each, 0.0) + _EARNED * seconds
                self._earned[each] = min(_MOST_EARNED_S, credit)
            while len(self._earned) > _MOST_PEERS:
                self._earned.popitem(last=False)

    def wait_s(self, who: Who) -> float:
        """Return how long this peer must wait now; 0 for one that has earned its time."""
        with self._lock:
            now = time.monotonic()
            refilled = self._bucket + _REFILL * (now - self._filled_at)
            self._bucket, self._filled_at = min(_BUCKET_S, refilled), now
            if self._bucket > 0 or self._earned.get(who, 0.0) > 0:
                return 0.0
            return min(_LONGEST_WAIT_S, -self._bucket / _REFILL + 1e-3)

    @contextmanager
    def spending(
        self, who: Who, *, clock: Callable[[], float] = time.thread_time
    ) -> Iterator[None]:
        """Count what the block takes, by this thread's own time unless there is another clock."""
        began = clock()
        try:
            yield
        finally:
            self.spend(who, clock() - began)
