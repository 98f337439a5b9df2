"""Where voxels are: grids in the patient's LPS millimetre frame.

Arrays are indexed (slice, row, column). Affines take (column, row, slice, 1), as DICOM and
SimpleITK do, and give LPS millimetres: x to the patient's left, y to the back, z to the head.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """A regular block of voxels in the patient.

    Attributes
    ----------
    shape
        Number of (slices, rows, columns).
    affine
        4 x 4, from (column, row, slice, 1) to LPS millimetres of voxel centres.
    frame_of_reference_uid
        Masks and images compare only within one frame of reference.
    """

    shape: tuple[int, int, int]
    affine: Matrix
    frame_of_reference_uid: str

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along (slice, row, column).

        Slices are measured along their normal, also where they lean.
        """
        steps = self.affine[:3, :3].T
        across, down = (float(np.linalg.norm(step)) for step in steps[:2])
        normal = np.cross(steps[0] / across, steps[1] / down)
        return float(abs(normal @ steps[2])), down, across

    @cached_property
    def direction(self) -> Matrix:
        """3 x 3, unit vectors of column, row and slice steps as columns."""
        directions: Matrix = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        return directions

    @property
    def origin_mm(self) -> tuple[float, float, float]:
        """LPS position of voxel (0, 0, 0)."""
        x, y, z = self.affine[:3, 3]
        return float(x), float(y), float(z)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Size of the block along (slice, row, column), voxel edges included."""
        s, r, c = (n * mm for n, mm in zip(self.shape, self.spacing_mm, strict=True))
        return s, r, c

    def points_mm(self, indices: Matrix) -> Matrix:
        """LPS positions, shape (n, 3), of `indices`, shape (n, 3), as (slice, row, column)."""
        points: Matrix = indices[:, ::-1] @ self.affine[:3, :3].T + self.affine[:3, 3]
        return points

    def same_as(self, other: "Grid", tolerance_mm: float = 1e-3) -> bool:
        """Whether both grids put every voxel in the same place, within `tolerance_mm`."""
        if self.shape != other.shape or self.frame_of_reference_uid != other.frame_of_reference_uid:
            return False
        corners = np.array(
            [[s, r, c] for s in (0, self.shape[0] - 1) for r in (0, self.shape[1] - 1)
             for c in (0, self.shape[2] - 1)], dtype=np.float64)  # fmt: skip
        apart = np.abs(self.points_mm(corners) - other.points_mm(corners)).max()
        return bool(apart <= tolerance_mm)


def axis_codes(grid: Grid) -> str:
    """Where array axes (slice, row, column) point, closest first, e.g. ``"SPL"``.

    Letters name the direction of increasing index: L/R, P/A, S/I.
    """
    letters = ["", "", ""]
    remaining = np.abs(grid.direction).copy()
    for _ in range(3):
        world, step = np.unravel_index(int(remaining.argmax()), (3, 3))
        positive = grid.direction[world, step] > 0
        letters[2 - step] = ("LPS" if positive else "RAI")[world]
        remaining[world, :] = -1
        remaining[:, step] = -1
    return "".join(letters)
