"""Masks kept as the block that holds them: a hundred organs need little more than one volume."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BoxedMask:
    """A mask of `shape`, (slice, row, column); all that is true lies in `part`, from `start`."""

    shape: tuple[int, ...]
    start: tuple[int, ...]
    part: Mask

    def whole(self) -> Mask:
        """Return the mask itself."""
        mask = np.zeros(self.shape, dtype=np.bool_)
        mask[self.where] = self.part
        return mask

    @property
    def where(self) -> tuple[slice, ...]:
        """The block of the whole mask that `part` is."""
        pairs = zip(self.start, self.part.shape, strict=True)
        return tuple(slice(start, start + size) for start, size in pairs)


def boxed(mask: Mask) -> BoxedMask:
    """Return a mask as its smallest block."""
    spans = [
        np.nonzero(mask.any(axis=tuple(axis for axis in range(mask.ndim) if axis != kept)))[0]
        for kept in range(mask.ndim)
    ]
    if not spans[0].size:
        return BoxedMask(shape=mask.shape, start=(0,) * mask.ndim, part=mask[:0, :0, :0].copy())
    start = tuple(int(span[0]) for span in spans)
    ends = tuple(int(span[-1]) + 1 for span in spans)
    part = mask[tuple(slice(a, b) for a, b in zip(start, ends, strict=True))].copy()
    return BoxedMask(shape=mask.shape, start=start, part=part)
