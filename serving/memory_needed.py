"""How much memory reading a series takes, before a byte of it is read."""

import math

from imaging.errors import TooLarge
from imaging.stack import Stack
from models.manifest import Kind
from models.package import Package

# Volumes in float32 beside those of the network's output: measured. Labels come one at a time.
_COPIES, _ONE_LABEL = 2, 1
# Masks are kept as the blocks that hold them: of many organs a small part of the volume each.
_MASK_BYTES = 0.25


def require_memory(stack: Stack, package: Package, *, most: int) -> None:
    """Refuse a volume that would not fit into `most` bytes; raises `TooLarge`.

    What a bundle holds in its own process, and its answer, which lies in a file, do not count.
    """
    manifest = package.manifest
    labels = manifest.labels if manifest.kind is Kind.ONNX else ()
    channels = max((label.channel + 1 for label in labels), default=1)
    copies = _COPIES + channels + _ONE_LABEL + 2 * len(manifest.needs.others)
    each = 4 * copies + _MASK_BYTES * len(manifest.labels)
    needed = each * math.prod(stack.grid.shape)
    if needed > most:
        msg = f"it needs {needed / 2**30:.1f} GB, one study may take {most / 2**30:.1f} GB"
        raise TooLarge(msg)
