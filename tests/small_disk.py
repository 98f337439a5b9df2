"""A real file system of some megabytes, to be filled to its last byte."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A mounted file system; `fill` leaves so many bytes free, `clear` gives the space back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, *, leave_mb: float = 0.0) -> None:
        block = bytes(1 << 16)
        spare = self.folder / "spare"
        if leave_mb:
            spare.write_bytes(bytes(int(leave_mb * (1 << 20))))
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(block)
            except OSError:
                pass
        spare.unlink(missing_ok=True)

    def clear(self) -> None:
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[SmallDisk]:
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)]
    mounted = subprocess.run(["mount", *options], check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system may be mounted here: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
