"""A sound three-dimensional image: voxels on a grid in the patient, and where they came from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.geometry import Grid
from imaging.header import InstanceHeader
from imaging.reasons import Reason

Voxels = NDArray[np.float32]


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
    """

    voxels: Voxels
    grid: Grid
    instances: tuple[InstanceHeader, ...]
    source_grid: Grid | None = None
    notes: tuple[Reason, ...] = ()
