"""Turns on a device: one network runs at a time, whichever process it is in."""

import fcntl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from typing import IO, Protocol


class Stage(Enum):
    """Where a thread is with its turn."""

    WAITING = auto()
    """Another has the device."""
    RUNNING = auto()
    """It has the device."""
    ENDED = auto()
    """It has given the device back."""


class Turns(Protocol):
    """Whose turn it is on each device."""

    def on(self, device: str) -> AbstractContextManager[object]:
        """Wait for a turn on `device` and have it until the context ends."""
        ...


class OwnTurns:
    """Turns of the threads of this process."""

    def __init__(self) -> None:
        self._devices: dict[str, threading.Semaphore] = {}
        self._lock = threading.Lock()

    def on(self, device: str) -> AbstractContextManager[object]:
        """Wait for a turn on `device` and have it until the context ends."""
        with self._lock:
            return self._devices.setdefault(device, threading.Semaphore(1))


class SharedTurns:
    """Turns of all processes that share `folder`; whoever dies gives its turn back.

    Who waits is next: who had a turn cannot take the following one before it. `tell` is called by
    each thread at each stage.
    """

    def __init__(self, folder: Path, tell: Callable[[Stage], None]) -> None:
        self._folder, self._tell = folder, tell
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def on(self, device: str) -> Iterator[None]:
        """Wait for a turn on `device` and have it until the context ends."""
        with (
            (self._folder / f"{device}.next").open("w") as next_one,
            (self._folder / device).open("w") as running,
        ):
            try:
                if not _taken_at_once(next_one, running):
                    self._tell(Stage.WAITING)
                    fcntl.flock(next_one, fcntl.LOCK_EX)
                    fcntl.flock(running, fcntl.LOCK_EX)
                fcntl.flock(next_one, fcntl.LOCK_UN)
                self._tell(Stage.RUNNING)
                yield
            finally:
                self._tell(Stage.ENDED)


def _taken_at_once(*locks: IO[str]) -> bool:
    with suppress(BlockingIOError):
        for lock in locks:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
