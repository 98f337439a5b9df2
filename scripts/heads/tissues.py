"""The tissues of a label map, and the grid that all maps share."""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

SPACING_MM = 2.0
Labels = NDArray[np.uint8]
Values = NDArray[np.float32]
Bools = NDArray[np.bool_]


class Tissue(IntEnum):
    """What a voxel of a label map is."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    BONE = 4
    MARROW = 5
    FLUID = 6  # cerebrospinal, outside the lateral ventricles
    GREY = 7
    WHITE = 8
    VENTRICLE = 9  # lateral
    CANAL = 10  # fluid around the spinal cord
    CORD = 11
    CAVITY = 12  # air and thin bone within the head: sinuses, mastoids, teeth


INSIDE = (Tissue.FLUID, Tissue.VENTRICLE)  # first and last of what lies within the skull


def within(labels: NDArray[np.integer]) -> Bools:
    """Return where a map is intracranial."""
    return np.asarray((labels >= INSIDE[0]) & (labels <= INSIDE[1]))


def ball(radius_mm: float) -> Bools:
    """Return a ball as a structuring element."""
    reach = int(np.ceil(radius_mm / SPACING_MM))
    offsets = np.mgrid[-reach : reach + 1, -reach : reach + 1, -reach : reach + 1] * SPACING_MM
    return np.asarray((offsets**2).sum(0) <= radius_mm**2 + 1e-6)


def closed(mask: Bools, radius_mm: float) -> Bools:
    """Return `mask` with gaps and dents narrower than the ball filled."""
    pad = int(radius_mm / SPACING_MM) + 2
    padded = ndi.binary_closing(np.pad(mask, pad), ball(radius_mm))
    return np.asarray(padded[pad:-pad, pad:-pad, pad:-pad])


def largest(mask: Bools, *, parts: int = 1) -> Bools:
    """Return the largest connected parts of `mask`."""
    numbered, count = ndi.label(mask)
    if count <= parts:
        return mask
    sizes = np.bincount(numbered.ravel())[1:]
    return np.asarray(np.isin(numbered, 1 + np.argsort(sizes)[-parts:]))


def depth_mm(mask: Bools) -> Values:
    """Return the distance of each voxel of `mask` to its border."""
    return np.asarray(ndi.distance_transform_edt(mask) * SPACING_MM, dtype=np.float32)
