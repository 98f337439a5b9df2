"""Run a network of fixed patch size over an array of any size, and blend the overlaps.

Windows and weights are those of MONAI's SlidingWindowInferer (monai.inferers), so that a model
trained and validated there gives the same voxels here.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from models.manifest import Blending

Array = NDArray[np.float32]

_SIGMA = 0.125  # of the patch size
_LEAST_WEIGHT = 1e-3


def sliding_window(
    array: Array,
    predict: Callable[[Array], Array],
    *,
    patch: Sequence[int],
    overlap: float,
    blending: Blending,
    batch: int = 1,
) -> Array:
    """Return the blended output, (label, ...), of `predict` over `array`, (channel, ...).

    `predict` maps (batch, channel, *patch) to (batch, label, *patch). Where `array` is smaller than
    the patch, zeros are put on both sides and taken off the result.
    """
    margins = [padding(n, p) for n, p in zip(array.shape[1:], patch, strict=True)]
    padded = np.pad(array, [(0, 0), *margins]) if any(map(any, margins)) else array
    weight = importance(patch, blending)
    total: Array | None = None
    weights = np.zeros(padded.shape[1:], dtype=np.float32)
    for windows in _batches(_windows(padded.shape[1:], patch, overlap), batch):
        outputs = predict(np.stack([padded[(slice(None), *window)] for window in windows]))
        if total is None:
            total = np.zeros((outputs.shape[1], *padded.shape[1:]), dtype=np.float32)
        for window, output in zip(windows, outputs, strict=True):
            total[(slice(None), *window)] += output * weight
            weights[window] += weight
    assert total is not None  # there is always a first window
    inner = tuple(slice(before, before + n) for (before, _), n
                  in zip(margins, array.shape[1:], strict=True))  # fmt: skip
    total /= weights
    return total[(slice(None), *inner)]


def importance(patch: Sequence[int], blending: Blending) -> Array:
    """Return the weight of each voxel of a patch; none is zero."""
    weight = np.ones((), dtype=np.float32)
    for size in patch:
        along = np.ones(size, dtype=np.float32)
        if blending is Blending.GAUSSIAN:
            offset = np.arange(size, dtype=np.float32) - (size - 1) / 2.0
            along = np.exp(-(offset**2) / (2.0 * (_SIGMA * size) ** 2)).astype(np.float32)
        weight = np.multiply.outer(weight, along)
    return np.maximum(weight, max(float(weight.min()), _LEAST_WEIGHT))


def padding(size: int, patch: int) -> tuple[int, int]:
    """Return how many zeros come before and after `size` values to fill a patch."""
    missing = max(patch - size, 0)
    return missing // 2, missing - missing // 2


def _windows(
    shape: Sequence[int], patch: Sequence[int], overlap: float
) -> Iterator[tuple[slice, ...]]:
    starts = [_starts(n, p, overlap) for n, p in zip(shape, patch, strict=True)]
    for corner in itertools.product(*starts):
        yield tuple(slice(c, c + p) for c, p in zip(corner, patch, strict=True))


def _starts(size: int, patch: int, overlap: float) -> list[int]:
    """Evenly stepped from 0; the last one is moved back to end with the array."""
    step = max(int(patch * (1.0 - overlap)), 1)
    count = math.ceil((size - patch) / step) + 1
    return [min(i * step, size - patch) for i in range(count)]


def _batches(windows: Iterator[tuple[slice, ...]], size: int) -> Iterator[list[tuple[slice, ...]]]:
    while batch := list(itertools.islice(windows, size)):
        yield batch
