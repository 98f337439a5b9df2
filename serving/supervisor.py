"""`wetread serve`: keeps node, worker and web running, each in its own process."""

import ctypes
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import structlog

_log = structlog.get_logger(__name__)
_PROCESSES = ("node", "worker", "web")
_LOOK_S = 0.1
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _STEADY_S = 0.2, 10.0, 30.0
_GRACE_S = 15.0
_PR_SET_PDEATHSIG = 1


class _Child:
    """One supervised process; restarted with growing pauses while it keeps dying early."""

    def __init__(self, name: str, arguments: Sequence[str]) -> None:
        self.name, self._arguments = name, arguments
        self._pause_s, self._next_start = _FIRST_PAUSE_S, 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    def keep_running(self) -> None:
        """Start the process when it is not running and its pause is over."""
        now = time.monotonic()
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            steady = now - self._started > _STEADY_S
            self._pause_s = _FIRST_PAUSE_S if steady else min(2 * self._pause_s, _LONGEST_PAUSE_S)
            self._next_start, self._process = now + self._pause_s, None
            _log.error("process_died", name=self.name, code=code, restart_in_s=self._pause_s)
        if now >= self._next_start:
            command = [sys.executable, "-m", "serving", *self._arguments, self.name]
            self._process = subprocess.Popen(command, preexec_fn=die_with_parent)  # noqa: PLW1509, S603
            self._started = now

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def wait(self, deadline: float) -> None:
        """Wait until the process has ended; after `deadline` it is killed, which loses nothing."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def supervise(arguments: Sequence[str], stop: threading.Event) -> None:
    """Run all processes with these command-line `arguments` until `stop` is set."""
    children = [_Child(name, arguments) for name in _PROCESSES]
    while not stop.is_set():
        for child in children:
            child.keep_running()
        stop.wait(_LOOK_S)
    for child in children:
        child.ask_to_stop()
    deadline = time.monotonic() + _GRACE_S
    for child in children:
        child.wait(deadline)


def die_with_parent(number: int = signal.SIGTERM) -> None:
    """Let the kernel end this process when its parent dies, so that none is left behind (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
