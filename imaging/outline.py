"""Outlines of a mask in one image, along pixel edges, in SR image coordinates."""

import numpy as np
from numpy.typing import NDArray

from imaging.findings import Mask

Outline = NDArray[np.float64]
_Point = tuple[int, int]


def outlines(plane: Mask) -> tuple[Outline, ...]:
    """Return the closed boundaries of `plane`, (row, column), largest enclosed area first.

    Each is (n, 2), (column, row) in pixels, with 0, 0 the outer corner of the first pixel, so that
    pixel centres lie at .5 (PS3.3 C.18.6.1.2); the first point is repeated at the end. Outer
    boundaries run clockwise on the screen and holes counter-clockwise. Pixels that touch only at a
    corner count as apart.
    """
    steps = _edges(plane)
    found = []
    while steps:
        found.append(_without_straight_points(_walk(steps)))
    return tuple(sorted(found, key=signed_area, reverse=True))


def signed_area(outline: Outline) -> float:
    """Enclosed area in pixels; negative for a hole."""
    x, y = outline[:, 0], outline[:, 1]
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2.0


def _edges(plane: Mask) -> dict[_Point, list[_Point]]:
    """Pixel edges between inside and outside, as start -> unit steps, inside to the right."""
    inside = np.pad(plane, 1)
    steps: dict[_Point, list[_Point]] = {}
    for (rows, columns), (corner_x, corner_y), step in (
        ((-1, 0), (0, 0), (1, 0)),  # nothing above: along the upper edge, to the right
        ((0, 1), (1, 0), (0, 1)),  # nothing to the right: downwards
        ((1, 0), (1, 1), (-1, 0)),  # nothing below: to the left
        ((0, -1), (0, 1), (0, -1)),  # nothing to the left: upwards
    ):
        neighbour = np.roll(inside, (-rows, -columns), axis=(0, 1))
        for row, column in np.argwhere(inside & ~neighbour) - 1:
            start = (int(column) + corner_x, int(row) + corner_y)
            steps.setdefault(start, []).append(step)
    return steps


def _walk(steps: dict[_Point, list[_Point]]) -> list[_Point]:
    """Take one closed boundary out of `steps`."""
    point = first = next(iter(steps))
    path, heading = [first], steps[first][0]
    while True:
        choices = steps[point]
        right = (-heading[1], heading[0])
        heading = right if right in choices else choices[0]
        choices.remove(heading)
        if not choices:
            del steps[point]
        point = (point[0] + heading[0], point[1] + heading[1])
        path.append(point)
        if point == first:
            return path


def _without_straight_points(path: list[_Point]) -> Outline:
    points = np.array(path[:-1], dtype=np.float64)
    turns = np.any(points - np.roll(points, 1, 0) != np.roll(points, -1, 0) - points, axis=1)
    corners = points[turns]
    closed: Outline = np.vstack([corners, corners[:1]])
    return closed
