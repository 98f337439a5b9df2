"""A program that we start and surely stop again."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from imaging.errors import SetupError

_GRACE_S = 20.0
_TAIL_LINES = 15


class ChildProcess:
    """A running program in its own process group; what it says goes to the file `log`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                # Its own group: Ctrl-C reaches only us, and we stop it in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait_until(self, ready: Callable[[], bool], *, limit_s: float) -> None:
        """Return once `ready()` is true.

        Raises
        ------
        SetupError
            The program ended, or was not ready in time; with the end of its log.
        """
        last = time.monotonic() + limit_s
        while not ready():
            self.require_running()
            if time.monotonic() > last:
                msg = f"{self.name} was not ready in {limit_s:.0f} s:\n{self._log_tail()}"
                raise SetupError(msg)
            time.sleep(0.1)

    def require_running(self) -> None:
        """Raise SetupError, with the end of its log, when the program has ended."""
        if self._process.poll() is not None:
            msg = f"{self.name} ended with code {self._process.returncode}:\n{self._log_tail()}"
            raise SetupError(msg)

    def stop(self) -> None:
        """End the program and everything it started; kills what does not end in time."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
        # What it has left behind; the group is gone once its last process has ended.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def kill(self) -> None:
        """Send SIGKILL to the program and everything it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _log_tail(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([*lines[-_TAIL_LINES:], f"(all of it: {self.log})"])


def children_of(parent: int) -> list[int]:
    """Return the ids of the processes that another one has started."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(parent)], check=False, capture_output=True, text=True
    )
    return [int(pid) for pid in found.stdout.split()]
