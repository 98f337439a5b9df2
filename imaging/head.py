"""Measures of a head: how wide the ventricles are, left against right, odd densities on CT.

All of them work in the frame of the head itself (`imaging.midplane`), so that how the head lay in
the scanner does not matter, except for a nod: slices are axial by the patient's axes.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from imaging.findings import Mask
from imaging.geometry import Grid
from imaging.midplane import HeadFrame
from imaging.resample import resample, resample_mask, stretched
from imaging.volume import Voxels

_HORNS = 1 / 3  # of the ventricles' length, from the front
_SEARCH_MM = 2.0
_CLIPPED_HU = (-50.0, 150.0)
_RIND_MM, _OFF_VENTRICLES_MM = 6.0, 4.0  # not searched: bone and fluid blur into them
_HYPODENSE_HU, _HYPERDENSE_HU = -10.0, 15.0  # against the median of the brain
_OTHER_SIDE_HU = 5.0  # the mirrored place must be so much nearer to the median
_HYPODENSE_ML, _HYPERDENSE_ML = 2.0, 0.5
_MOST_REGIONS = 5  # of each kind


@dataclass(frozen=True, slots=True, kw_only=True)
class EvansIndex:
    """Width of the frontal horns over the width within the skull in the same axial slice.

    Evans, Archives of Neurology and Psychiatry 47 (1942) 931; above 0.3 counts as enlarged.
    """

    horns_mm: float
    skull_mm: float

    @property
    def ratio(self) -> float:
        """The index."""
        return self.horns_mm / self.skull_mm


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Volume of a structure on either side of the plane between left and right."""

    left_ml: float
    right_ml: float

    @property
    def asymmetry_percent(self) -> float:
        """Difference over mean; positive where the left is larger."""
        return 200.0 * (self.left_ml - self.right_ml) / (self.left_ml + self.right_ml)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scan:
    """A CT: voxels in HU and where they lie."""

    voxels: Voxels
    grid: Grid


class Density(StrEnum):
    """How a region differs from the brain around it."""

    LOW = "hypodense"
    HIGH = "hyperdense"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Region:
    """A region of odd density; `mask` is on the source grid.

    `left` tells on which side its middle lies; `mean_hu` is of the image as it is.
    """

    density: Density
    left: bool
    mask: Mask
    volume_ml: float
    mean_hu: float


def evans_index(
    ventricles: Mask, inside: Mask, grid: Grid, *, frame: HeadFrame
) -> EvansIndex | None:
    """Return Evans' index; None where no frontal horns are seen."""
    there = resample_mask(ventricles, grid, frame.grid)
    skull = resample_mask(inside, grid, frame.grid)
    rows = np.nonzero(there.any(axis=(0, 2)))[0]
    if not len(rows):
        return None
    front = rows[0] + int((rows[-1] - rows[0] + 1) * _HORNS)
    horns: Mask = np.asarray(there[:, : front + 1].any(axis=1))  # (slice, column)
    widths = np.array([_width(line) for line in list(horns)])
    best = int(widths.argmax())
    across = max(_width(line) for line in skull[best])
    if not across:
        return None
    spacing = frame.grid.spacing_mm[2]
    return EvansIndex(horns_mm=float(widths[best]) * spacing, skull_mm=across * spacing)


def sides(mask: Mask, grid: Grid, frame: HeadFrame) -> Sides:
    """Return how much of `mask` lies on either side; voxels are told apart by their centres."""
    places = np.argwhere(mask).astype(np.float64)
    axis = frame.grid.direction[:, 0]
    columns = frame.grid.shape[2]
    middle = frame.grid.points_mm(np.array([[0.0, 0.0, (columns - 1) / 2]]))[0]
    left = int(np.count_nonzero((grid.points_mm(places) - middle) @ axis > 0))
    return Sides(left_ml=left * grid.voxel_ml, right_ml=(len(places) - left) * grid.voxel_ml)


def odd_densities(
    scan: Scan, inside: Mask, ventricles: Mask, *, frame: HeadFrame
) -> tuple[Region, ...]:
    """Return regions of a head CT that are darker or brighter than the other side.

    A candidate lies well within the skull and off the ventricles, differs from the median of the
    brain, and its mirrored place does so less. The largest come first; nothing is said of what
    they are.
    """
    slices, rows, columns = (max(round(mm / _SEARCH_MM), 1) for mm in frame.grid.extent_mm)
    grid = stretched(frame.grid, (slices, rows, columns))  # keeps the plane in the middle
    hounsfield = resample(scan.voxels, scan.grid, grid, outside=-1000.0, smooth=True)
    hounsfield = _smooth(np.clip(hounsfield, *_CLIPPED_HU))
    depth = _depth_mm(resample_mask(inside, scan.grid, grid), grid)
    searched = depth > _RIND_MM
    searched &= _depth_mm(~resample_mask(ventricles, scan.grid, grid), grid) > _OFF_VENTRICLES_MM
    if not searched.any():
        return ()
    beside = hounsfield - float(np.median(hounsfield[searched]))
    mirrored = beside[:, :, ::-1]
    low = searched & (beside < _HYPODENSE_HU) & (mirrored > _HYPODENSE_HU + _OTHER_SIDE_HU)
    high = searched & (beside > _HYPERDENSE_HU) & (mirrored < _HYPERDENSE_HU - _OTHER_SIDE_HU)
    return (
        *(_region(part, Density.LOW, scan, grid=grid) for part in _parts(low, _HYPODENSE_ML, grid)),
        *(
            _region(part, Density.HIGH, scan, grid=grid)
            for part in _parts(high, _HYPERDENSE_ML, grid)
        ),
    )


def _parts(mask: Mask, least_ml: float, grid: Grid) -> list[Mask]:
    """Return the connected parts that are large enough, the largest first."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    opened = sitk.BinaryMorphologicalOpening(image, [1, 1, 1], sitk.sitkBall)
    parts = sitk.GetArrayFromImage(sitk.ConnectedComponent(opened))
    sizes = np.bincount(parts.ravel()) * grid.voxel_ml
    sizes[0] = 0
    numbers = [n for n in np.argsort(-sizes).tolist() if sizes[n] >= least_ml]
    return [parts == n for n in numbers[:_MOST_REGIONS]]


def _region(part: Mask, density: Density, scan: Scan, *, grid: Grid) -> Region:
    mask = resample_mask(part, grid, scan.grid)
    columns = np.argwhere(part)[:, 2]
    return Region(
        density=density,
        left=bool(columns.mean() > (part.shape[2] - 1) / 2),
        mask=mask,
        volume_ml=int(np.count_nonzero(mask)) * scan.grid.voxel_ml,
        mean_hu=float(scan.voxels[mask].mean()) if mask.any() else 0.0,
    )


def _width(line: NDArray[np.bool_]) -> int:
    places = np.nonzero(line)[0]
    return int(places[-1] - places[0] + 1) if len(places) else 0


def _smooth(values: Voxels) -> Voxels:
    image = sitk.DiscreteGaussian(sitk.GetImageFromArray(values), variance=[1.0, 1.0, 1.0])
    smooth: Voxels = sitk.GetArrayFromImage(image)
    return smooth


def _depth_mm(mask: Mask, grid: Grid) -> Voxels:
    """Return how far each voxel of `mask` is from its border; negative outside."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(grid.spacing_mm[::-1])
    distance = sitk.SignedMaurerDistanceMap(
        image, insideIsPositive=True, squaredDistance=False, useImageSpacing=True
    )
    depth: Voxels = sitk.GetArrayFromImage(distance)
    return depth
