"""Worker slots: one process in each, so that a restart goes on with the work of its predecessor."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imaging.errors import SetupError


@contextmanager
def slot_taken(folder: Path, slot: str) -> Iterator[None]:
    """Hold a slot; the kernel gives it back however the process ends.

    Raises
    ------
    SetupError
        Another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / slot).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = f"another process works as {slot}"
            raise SetupError(msg) from error
        yield


def taken_slots(folder: Path) -> tuple[str, ...]:
    """Return the slots that running processes hold on this machine."""
    return tuple(path.name for path in sorted(folder.glob("*")) if _is_held(path))


def _is_held(path: Path) -> bool:
    with path.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
