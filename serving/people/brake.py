"""The brake on guessing: after too many failures a name at an address has to wait.

So nobody locks out those who share an address, nor a name from afar. Very many failures of a name
at all addresses, or of an address with all names, count too: then somebody is guessing in earnest.
"""

import time
from collections import deque
from collections.abc import Callable
from threading import Lock

_WINDOW_S = 900.0
_MOST = {"name at address": 10, "name": 100, "address": 100}
_REMEMBERED = 10_000


class Brake:
    """Failed sign-ins of the last quarter of an hour, kept in memory."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._failures: dict[tuple[str, str], deque[float]] = {}

    def begin(self, name: str, address: str) -> bool:
        """Whether somebody may try now; it counts as failed until `succeeded` says otherwise."""
        now, keys = self._clock(), _keys(name, address)
        with self._lock:
            if any(len(self._recent(key, now)) >= _MOST[key[0]] for key in keys):
                return False
            for key in keys:
                self._failures.setdefault(key, deque()).append(now)
            while len(self._failures) > _REMEMBERED:
                self._failures.pop(next(iter(self._failures)))
        return True

    def wait_s(self, name: str, address: str) -> float:
        """Return the seconds until somebody who may not try now may."""
        now = self._clock()
        with self._lock:
            held = [
                times[0] + _WINDOW_S - now
                for key in _keys(name, address)
                if len(times := self._recent(key, now)) >= _MOST[key[0]]
            ]
        return max(held, default=0.0)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of a name at its address, and this attempt elsewhere."""
        own, *others = _keys(name, address)
        with self._lock:
            self._failures.pop(own, None)
            for key in others:
                if tried := self._failures.get(key):
                    tried.pop()

    def _recent(self, key: tuple[str, str], now: float) -> deque[float]:
        times = self._failures.get(key, deque())
        while times and times[0] < now - _WINDOW_S:
            times.popleft()
        return times


def _keys(name: str, address: str) -> tuple[tuple[str, str], ...]:
    return ("name at address", f"{address} {name}"), ("name", name), ("address", address)
