"""How much memory reading a series takes, before a byte of it is read."""

import math

from imaging.errors import TooLarge
from imaging.stack import Stack
from models.package import Package

# Volumes in float32 beside those of the network's output and of the labels: measured.
_COPIES = 2


def require_memory(stack: Stack, package: Package, *, most: int) -> None:
    """Refuse a volume that would not fit into `most` bytes; raises `TooLarge`."""
    manifest = package.manifest
    maps = [label.channel + 1 for label in manifest.labels] or [1]
    copies = _COPIES + max(maps) + len(maps) + 2 * len(manifest.needs.others)
    needed = copies * 4 * math.prod(stack.grid.shape)
    if needed > most:
        msg = f"it needs {needed / 2**30:.1f} GB, one study may take {most / 2**30:.1f} GB"
        raise TooLarge(msg)
