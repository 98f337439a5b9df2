"""How much memory there is, and giving back what is free."""

import ctypes
import os
import sys
from pathlib import Path

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_LARGE, _ARENAS = 1 << 20, 2
_CGROUP = Path("/sys/fs/cgroup/memory.max")


def machine_bytes(cgroup: Path = _CGROUP) -> int:
    """Return the memory of this machine, or of the container that we run in."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        text = cgroup.read_text().strip()
    except OSError:
        return physical
    return min(physical, int(text)) if text.isdigit() else physical


def give_back_large_blocks() -> None:
    """Have the C library return large blocks to the system as soon as they are free (glibc).

    Left to itself it learns to keep them, for each of many threads: a process that has once taken
    in large instances on many associations would keep that memory for good.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_M_ARENA_MAX, _ARENAS)
