"""From what a bundle writes to a map for each label, on the grid of the series."""

from collections.abc import Callable, Sequence

import numpy as np

from imaging.errors import InferenceFailed
from imaging.geometry import Grid
from models.bundle_session import BundleAnswer
from models.manifest import Label
from models.preprocess import restored
from models.runtime import Array

_TOLERANCE, _SHOWN = 1e-3, 9


def label_maps(
    answer: BundleAnswer, labels: Sequence[Label], source: Grid
) -> Callable[[int], Array]:
    """Return what makes the map of each label: probability, or 0 and 1 where it was decided.

    Raises
    ------
    InferenceFailed
        The bundle wrote fewer channels than the labels need.
    """
    require_channels(answer.voxels, labels)
    s, r, c = answer.voxels.shape[1:]
    grid = Grid(
        shape=(s, r, c),
        affine=answer.affine,
        frame_of_reference_uid=source.frame_of_reference_uid,
    )

    def of(index: int) -> Array:
        return restored(_of(labels[index], answer.voxels), grid, source)

    return of


def require_channels(voxels: Array, labels: Sequence[Label]) -> None:
    """Refuse what does not say where every label is; raises `InferenceFailed`."""
    if len(voxels) > 1:
        most = max(label.channel for label in labels)
        if len(voxels) <= most:
            msg = f"the bundle gave {len(voxels)} channels, a label is in channel {most}"
            raise InferenceFailed(msg)
        return
    unsaid = [each.label for each in labels if not each.values and each.channel == 0]
    if unsaid and (len(labels) > 1 or voxels.max() > 1.0 + _TOLERANCE):
        numbers = np.unique(voxels)[1:_SHOWN]
        msg = (
            f"the bundle gave one map of numbers ({', '.join(f'{n:g}' for n in numbers)}): "
            f"`values` must say which of them stand for {', '.join(unsaid)}"
        )
        raise InferenceFailed(msg)


def _of(label: Label, voxels: Array) -> Array:
    """Return the map of one label: of several channels its own; of one, where its numbers stand."""
    values = label.values or (label.channel,)
    if len(voxels) > 1 or values == (0,):
        return np.asarray(voxels[label.channel])
    return np.isin(voxels[0], values).astype(np.float32)
