"""Volumes and grids made in code."""

import numpy as np
from numpy.typing import NDArray

from imaging.findings import Mask
from imaging.geometry import Grid
from imaging.header import header_of
from imaging.volume import Volume
from tests.builders import mr_series


def grid_of(
    shape: tuple[int, ...], affine: NDArray[np.float64] | None = None, *, frame: str = "1.2.3"
) -> Grid:
    s, r, c = shape
    affine = np.eye(4) if affine is None else affine
    return Grid(shape=(s, r, c), affine=affine, frame_of_reference_uid=frame)


def volume_of(voxels: NDArray[np.generic], grid: Grid) -> Volume:
    return Volume(
        voxels=np.ascontiguousarray(voxels, dtype=np.float32),
        grid=grid,
        instances=tuple(header_of(image) for image in mr_series((grid.shape[0], 2, 2))),
    )


def part(volume: Volume, *where: slice) -> Volume:
    """A piece of a volume, in its place."""
    start = np.array([[piece.start or 0 for piece in where]], dtype=np.float64)
    voxels = volume.voxels[where]
    affine = volume.grid.affine.copy()
    affine[:3, 3] = volume.grid.points_mm(start)[0]
    return volume_of(voxels, grid_of(voxels.shape, affine))


def oblique(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float] = (2.0, 1.5, 1.2)
) -> Grid:
    """A sagittal grid, slices to the right, turned by 10 degrees about the patient's x axis."""
    a = np.radians(10.0)
    turn = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    affine = np.eye(4)
    steps = turn @ np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    affine[:3, :3] = steps * np.array(spacing_mm[::-1])
    affine[:3, 3] = (40.0, -60.0, 70.0)
    return grid_of(shape, affine)


def dice(a: Mask, b: Mask) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))
