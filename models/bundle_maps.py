"""From what a bundle writes to a map for each label, on the grid of the series."""

from collections.abc import Sequence

import numpy as np

from imaging.errors import InferenceFailed
from imaging.geometry import Grid
from models.bundle_session import BundleAnswer
from models.manifest import Label
from models.preprocess import restored
from models.runtime import Array


def label_maps(answer: BundleAnswer, labels: Sequence[Label], source: Grid) -> Array:
    """Return (label, slice, row, column): probability, or 0 and 1 where the bundle has decided.

    Raises
    ------
    InferenceFailed
        The bundle wrote fewer channels than the labels need.
    """
    channels, *_ = answer.voxels.shape
    most = max(label.channel for label in labels)
    if 1 < channels <= most:
        msg = f"the bundle gave {channels} channels, a label is in channel {most}"
        raise InferenceFailed(msg)
    s, r, c = answer.voxels.shape[1:]
    grid = Grid(
        shape=(s, r, c),
        affine=answer.affine,
        frame_of_reference_uid=source.frame_of_reference_uid,
    )
    maps = np.empty((len(labels), *source.shape), dtype=np.float32)
    for place, label in zip(maps, labels, strict=True):
        place[:] = restored(_of(label, answer.voxels), grid, source)
    return maps


def _of(label: Label, voxels: Array) -> Array:
    """Return the map of one label: of several channels its own; of one, where its number stands."""
    if len(voxels) > 1 or label.channel == 0:
        return np.asarray(voxels[label.channel])
    return np.asarray(voxels[0] == label.channel, dtype=np.float32)
