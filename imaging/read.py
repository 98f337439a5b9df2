"""Read the voxels of a sound stack."""

import numpy as np

from imaging.pixels import plane
from imaging.stack import Stack
from imaging.volume import Volume


def load_volume(stack: Stack) -> Volume:
    """Return the `Volume` of a stack: every slice decoded, in real-world values.

    Raises
    ------
    PixelsUnreadable
        A slice cannot be decoded; nothing is measured on the rest.
    """
    voxels = np.empty(stack.grid.shape, dtype=np.float32)
    for index, header in enumerate(stack.instances):
        voxels[index] = plane(header)
    return Volume(voxels=voxels, grid=stack.grid, instances=stack.instances, notes=stack.notes)
