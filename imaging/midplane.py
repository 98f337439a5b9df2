"""The plane that parts left from right in a head, by the symmetry of what the skull encloses."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from imaging.errors import InputError
from imaging.findings import Mask
from imaging.geometry import Grid
from imaging.resample import resample_mask

_COARSE_MM = 4.0
_LEAST_VOXELS = 2000  # of the coarse grid, 128 ml
_STEPS = np.array([np.deg2rad(10.0), np.deg2rad(10.0), 6.0])  # the first; each turn halves them
_HALVINGS = 6
_MOST_ANGLE = np.deg2rad(30.0)
_LEAST_SYMMETRY = 0.85

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadFrame:
    """A grid that stands upright in a head.

    Attributes
    ----------
    grid
        Isotropic; slices to the head, rows to the back, columns to the left; the plane that parts
        left from right lies in the middle of the columns. It encloses the mask.
    symmetry
        Share of the mask whose mirror image lies in the mask.
    """

    grid: Grid
    symmetry: float


def head_frame(inside: Mask, grid: Grid, *, spacing_mm: float) -> HeadFrame:
    """Return the frame of a head from the mask of what its skull encloses.

    The plane through the head is sought whose mirror image of the mask covers the mask best: turned
    about the axes to the head and to the front by up to 30 degrees, and moved sideways.

    Raises
    ------
    InputError
        The mask is too small or too unlike its mirror image for a plane to mean anything.
    """
    coarse = _upright(grid, _COARSE_MM)
    there = resample_mask(inside, grid, coarse)
    if np.count_nonzero(there) < _LEAST_VOXELS:
        msg = "what the skull encloses is too small to find its plane of symmetry"
        raise InputError(msg)
    mirror = _Symmetry(there, coarse)
    best, symmetry = mirror.best()
    if symmetry < _LEAST_SYMMETRY or max(abs(best[:2])) > _MOST_ANGLE:
        msg = "left and right of the head are too unlike to find the plane between them"
        raise InputError(msg)
    axes = _axes(best)
    middle = mirror.middle + best[2] * axes[:, 0]
    block = _Block(points=mirror.points + mirror.middle, axes=axes, middle=middle)
    return HeadFrame(grid=block.grid(spacing_mm, like=grid), symmetry=symmetry)


class _Symmetry:
    """How much of a mask lies in its own mirror image."""

    def __init__(self, there: Mask, grid: Grid) -> None:
        self._there, self._grid = there, grid
        points = grid.points_mm(np.argwhere(there).astype(np.float64))
        self.middle = points.mean(axis=0)
        self.points = points - self.middle

    def best(self) -> tuple[Points, float]:
        """Return (turn about the axis to the head, to the front, shift in mm), and the share."""
        best, found = np.zeros(3), self.of(np.zeros(3))
        for halving in range(_HALVINGS):
            start = best
            for steps in product((-1, 0, 1), repeat=3):
                tried = start + np.array(steps) * _STEPS * 0.5**halving
                if (share := self.of(tried)) > found:
                    best, found = tried, share
        return best, found

    def of(self, plane: Points) -> float:
        """Return the share for one plane."""
        normal = _axes(plane)[:, 0]
        mirrored = self.points - 2 * np.outer(self.points @ normal - plane[2], normal)
        return float(_looked_up(self._there, self._grid, mirrored + self.middle).mean())


def _looked_up(there: Mask, grid: Grid, points: Points) -> NDArray[np.bool_]:
    steps = np.linalg.inv(grid.affine[:3, :3])
    places = np.rint((points - grid.affine[:3, 3]) @ steps.T).astype(np.intp)[:, ::-1]
    within = np.all((places >= 0) & (places < there.shape), axis=1)
    found = np.zeros(len(points), dtype=np.bool_)
    found[within] = there[tuple(places[within].T)]
    return found


def _axes(plane: Points) -> Points:
    """Return unit vectors to the left, back and head, as columns."""
    turn, lean = plane[0], plane[1]
    about_head = np.array(
        [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    )
    about_front = np.array(
        [[np.cos(lean), 0, np.sin(lean)], [0, 1, 0], [-np.sin(lean), 0, np.cos(lean)]]
    )
    axes: Points = about_head @ about_front
    return axes


def _upright(grid: Grid, spacing_mm: float) -> Grid:
    """Return the grid along the patient's axes that encloses `grid`."""
    corners = np.array(
        [[s, r, c] for s in (0, grid.shape[0] - 1) for r in (0, grid.shape[1] - 1)
         for c in (0, grid.shape[2] - 1)], dtype=np.float64)  # fmt: skip
    block = _Block(points=grid.points_mm(corners), axes=np.eye(3), middle=None)
    return block.grid(spacing_mm, like=grid)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Block:
    """Points to enclose along `axes`; about `middle`, if any, as much on both sides."""

    points: Points
    axes: Points
    middle: Points | None

    def grid(self, spacing_mm: float, *, like: Grid) -> Grid:
        along = self.points @ self.axes
        low, high = along.min(axis=0) - 2 * spacing_mm, along.max(axis=0) + 2 * spacing_mm
        if self.middle is not None:
            center = float(self.middle @ self.axes[:, 0])
            reach = max(center - low[0], high[0] - center)
            low[0], high[0] = center - reach, center + reach
        counts = np.ceil((high - low) / spacing_mm).astype(int) + 1
        start = (low + high - (counts - 1) * spacing_mm) / 2
        affine = np.eye(4)
        affine[:3, :3] = self.axes * spacing_mm
        affine[:3, 3] = self.axes @ start
        columns, rows, slices = counts.tolist()
        return Grid(
            shape=(slices, rows, columns),
            affine=affine,
            frame_of_reference_uid=like.frame_of_reference_uid,
        )
