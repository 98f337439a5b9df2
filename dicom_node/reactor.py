"""Keeps pynetdicom's own thread from taking the answers to our requests.

That thread of an association, the reactor, looks for requests of the peer. It is stopped before
each request of ours by clearing an event; but one that has just passed the event looks once more,
takes the answer for a request and drops it. Here clearing returns when it has really stopped.
"""

import threading
import time

from pynetdicom.association import Association
from typing_extensions import override

_LONGEST_S = 1.0  # a reactor that serves a request of the peer is not stopped; nor is a dead one
_TURN_S = 0.01


class _Gate(threading.Event):
    """The event that a reactor waits for; it knows whether the reactor waits."""

    def __init__(self, reactor: threading.Thread) -> None:
        super().__init__()
        self._reactor, self._inside = reactor, threading.Condition()
        self._opened, self._waits = True, False

    @override
    def set(self) -> None:
        """Let the reactor go on."""
        with self._inside:
            self._opened = True
            self._inside.notify_all()

    @override
    def is_set(self) -> bool:
        """Whether the reactor may go on."""
        return self._opened

    @override
    def clear(self) -> None:
        """Stop the reactor; it has stopped when this returns, unless it is the one that asks."""
        limit = time.monotonic() + _LONGEST_S
        with self._inside:
            self._opened = False
            if threading.current_thread() is self._reactor:
                return
            while not self._waits and self._reactor.is_alive() and time.monotonic() < limit:
                self._inside.wait(_TURN_S)

    @override
    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the reactor may go on."""
        with self._inside:
            while not self._opened:
                self._waits = True
                self._inside.notify_all()
                self._inside.wait(timeout)
            self._waits = False
            return True


def hold(opened: Association) -> None:
    """Stop the reactor of an association that is established; our next request lets it go on."""
    gate = _Gate(opened)
    opened._reactor_checkpoint = gate  # noqa: SLF001 - there is no other way to it
    gate.clear()
