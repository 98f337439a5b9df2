"""A sound three-dimensional image: voxels on a grid in the patient, and where they came from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.geometry import Grid
from imaging.header import InstanceHeader
from imaging.reasons import Reason

Voxels = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Beside:
    """Another series of the study on the grid of a `Volume`, for a model of several inputs.

    `voxels` are float32, (slice, row, column); `instances` are the images they came from.
    """

    name: str
    voxels: Voxels
    instances: tuple[InstanceHeader, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Volume:
    """Voxels and their place.

    Attributes
    ----------
    voxels
        float32, (slice, row, column), after the modality transform: HU for CT, the scanner's
        arbitrary units for MR.
    grid
        Where the voxels are.
    instances
        One header for each slice, in slice order.
    source_grid
        Where the stored slices are, when they lean (`imaging.tilt`) and `grid` is another;
        slice numbers are the same in both.
    notes
        What was noticed or corrected while reading; the report repeats it.
    beside
        The other inputs of a model that has several, in their order.
    """

    voxels: Voxels
    grid: Grid
    instances: tuple[InstanceHeader, ...]
    source_grid: Grid | None = None
    notes: tuple[Reason, ...] = ()
    beside: tuple[Beside, ...] = ()
