"""Leaning stacks made square, and results brought back to the slices as they were stored.

A tilted gantry, or a leaning slab in MR, shifts each slice within its own plane against the one
before. The square grid has the same slice planes, so only a shift along rows and columns lies
between the two: nothing is interpolated across slices.
"""

from dataclasses import replace
from math import ceil, floor

import numpy as np

from imaging.boxed import boxed
from imaging.findings import Mask, Report
from imaging.geometry import Grid, Matrix
from imaging.volume import Volume, Voxels

_HALF = 0.5
# Shifts this close to whole pixels are whole: rounding of positions leaves as much.
_WHOLE_PIXELS = 0.02


def squared(source: Grid) -> Grid:
    """Return the orthogonal grid, on the slice planes of a leaning one, that holds its pixels."""
    slices, rows, columns = source.shape
    column, row, step = (source.affine[:3, axis] for axis in range(3))
    normal = np.cross(column, row)
    normal /= np.linalg.norm(normal)
    first_row, last_row = _reach(slices, float(step @ row / (row @ row)))
    first_column, last_column = _reach(slices, float(step @ column / (column @ column)))
    affine = source.affine.copy()
    affine[:3, 2] = normal * (normal @ step)
    affine[:3, 3] += row * first_row + column * first_column
    shape = (slices, rows + last_row - first_row, columns + last_column - first_column)
    return replace(source, shape=shape, affine=affine)


def straightened(voxels: Voxels, source: Grid, target: Grid) -> Voxels:
    """Return `voxels` of the leaning `source` on its square grid `target`.

    Linear between pixels of one slice; the lowest value of all lies where no pixel was.
    """
    outside = float(voxels.min())
    moved = np.empty(target.shape, dtype=np.float32)
    for index, offset in enumerate(_offsets(source, target)):
        moved[index] = _shifted(voxels[index], offset, shape=target.shape[1:], outside=outside)
    return moved


def on_source(report: Report, volume: Volume) -> Report:
    """Return `report`, made on the grid of `volume`, with its masks on the stored slices.

    A pixel belongs to the mask when at least half of it did on the square grid.
    """
    source = volume.source_grid
    if source is None:
        return report
    segments = tuple(
        replace(segment, region=boxed(mask_on_source(segment.mask, source, volume.grid)))
        for segment in report.segments
    )
    return replace(report, grid=source, segments=segments)


def mask_on_source(mask: Mask, source: Grid, target: Grid) -> Mask:
    """Return a mask on the square grid `target` on the stored slices of `source`."""
    back = np.empty(source.shape, dtype=np.bool_)
    for index, offset in enumerate(_offsets(source, target)):
        plane = mask[index].astype(np.float32)
        back[index] = _shifted(plane, -offset, shape=source.shape[1:], outside=0.0) >= _HALF
    return back


def source_plane(volume: Volume, index: int) -> Voxels:
    """Return slice `index` on the pixels of its stored image, (row, column), for display."""
    plane: Voxels = volume.voxels[index]
    if volume.source_grid is None:
        return plane
    offset = _offsets(volume.source_grid, volume.grid)[index]
    shape = volume.source_grid.shape[1:]
    return _shifted(plane, -offset, shape=shape, outside=float(plane.min()))


def _reach(slices: int, pixels: float) -> tuple[int, int]:
    """Return whole pixels that a shift of `pixels` from slice to slice reaches below and above."""
    total = (slices - 1) * pixels
    total = round(total) if abs(total - round(total)) < _WHOLE_PIXELS else total
    return min(floor(total), 0), max(ceil(total), 0)


def _offsets(source: Grid, target: Grid) -> Matrix:
    """Return, (slice, 2), which row and column of `target` the first pixel of each slice is in."""
    first = np.arange(source.shape[0], dtype=np.float64)[:, np.newaxis] * [1.0, 0.0, 0.0]
    between = source.points_mm(first) - target.points_mm(first)
    axes = target.affine[:3, 1::-1]
    offsets = between @ axes / (axes * axes).sum(axis=0)
    whole = offsets.round()
    settled: Matrix = np.where(np.abs(offsets - whole) < _WHOLE_PIXELS, whole, offsets)
    return settled


def _shifted(plane: Voxels, offset: Matrix, *, shape: tuple[int, ...], outside: float) -> Voxels:
    """Return `plane` moved down and right by `offset` pixels, cut or filled to `shape`."""
    rows, columns = (float(pixels) for pixels in offset)
    down = _moved(plane, rows, size=shape[0], outside=outside)
    return _moved(down.T, columns, size=shape[1], outside=outside).T


def _moved(plane: Voxels, by: float, *, size: int, outside: float) -> Voxels:
    whole = floor(by)
    near, part = _placed(plane, whole, size=size, outside=outside), np.float32(by - whole)
    if part == 0:
        return near
    far = _placed(plane, whole + 1, size=size, outside=outside)
    moved: Voxels = (1 - part) * near + part * far
    return moved


def _placed(plane: Voxels, row: int, *, size: int, outside: float) -> Voxels:
    """Return `size` rows, with the first row of `plane` at `row`."""
    placed = np.full((size, plane.shape[1]), outside, dtype=np.float32)
    start, stop = max(row, 0), min(row + len(plane), size)
    if start < stop:
        placed[start:stop] = plane[start - row : stop - row]
    return placed
