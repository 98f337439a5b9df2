"""The other series of a study that a model of several inputs reads beside the first."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from imaging.geometry import Grid
from imaging.needs import Need, misfits
from imaging.reasons import Reason, reason
from imaging.resample import resample
from imaging.stack import Stack
from imaging.volume import Beside, Volume, Voxels

_LEAST_SHARE = 0.5
_SAMPLES = 24  # along each axis
_EDGE = 0.5  # voxels from the outermost centres


def companions(need: Need, first: Stack, ranked: Sequence[Stack]) -> tuple[int, ...] | Reason:
    """Return which of `ranked` stacks, the best come first, are the other inputs; or why none are.

    Each is another stack, in the frame of reference of `first`, and shows at least half of it.
    """
    taken: list[int] = []
    for other in need.others:
        fitting = [
            at for at, stack in enumerate(ranked)
            if stack is not first and at not in taken and not misfits(other, stack)
        ]  # fmt: skip
        placed = [at for at in fitting if share_shown(first.grid, ranked[at].grid) >= _LEAST_SHARE]
        if not placed:
            if fitting:
                return reason("INPUT_ELSEWHERE", input=other.name)
            return reason("NO_SERIES_FOR_INPUT", input=other.name)
        taken.append(placed[0])
    return tuple(taken)


def share_shown(grid: Grid, by: Grid) -> float:
    """Return the share of the block `grid` that lies within `by`; 0 in another frame."""
    frame = grid.frame_of_reference_uid
    if not frame or frame != by.frame_of_reference_uid:
        return 0.0
    axes = [(np.arange(_SAMPLES) + _EDGE) * n / _SAMPLES - _EDGE for n in grid.shape]
    points = grid.points_mm(np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 3))
    there = np.linalg.solve(by.affine[:3, :3], (points - by.affine[:3, 3]).T).T[:, ::-1]
    ends = np.array(by.shape, dtype=np.float64) - _EDGE
    return float(((there >= -_EDGE) & (there <= ends)).all(axis=1).mean())


def brought_together(first: Volume, others: Sequence[tuple[str, Volume]]) -> Volume:
    """Return `first` with the `others`, by their names, on its grid; what is noted says so.

    Linear interpolation; where another shows nothing its lowest value stands.
    """
    notes = [
        reason(
            "READ_TOGETHER",
            series=other.instances[0].series.series_uid,
            input=name,
            share=share_shown(first.grid, other.grid),
        )
        for name, other in others
    ]
    beside = tuple(
        Beside(name=name, voxels=_there(other, first.grid), instances=other.instances)
        for name, other in others
    )
    return replace(first, beside=beside, notes=(*first.notes, *notes))


def _there(volume: Volume, grid: Grid) -> Voxels:
    if volume.grid.same_as(grid):
        return volume.voxels
    return resample(volume.voxels, volume.grid, grid, outside=float(volume.voxels.min()))
