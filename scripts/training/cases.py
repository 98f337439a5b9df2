"""Training samples from a data set of assessed cases, prepared as the serving path does it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from imaging.errors import SetupError
from imaging.resample import resample_mask
from imaging.volume import Voxels
from models.manifest import Activation, Mode, Task
from models.package import Package
from models.preprocess import Block, prepared, scale_of
from models.sliding import padding
from scripts.dataset_files import Case, Dataset
from scripts.evaluation_run import label_of_case, volume_of_case
from scripts.training.samples import Sample

Size = tuple[int, int, int]
_ON_LABEL = 0.7  # share of windows that are laid around a labelled voxel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Prepared:
    """A case as the network sees it: voxels (x, y, z) scaled, truth (channel, x, y, z)."""

    voxels: Voxels
    truth: NDArray[np.bool_]


class Cases:
    """Windows of the training cases, by seed.

    Attributes
    ----------
    size
        Of the windows along the network's axes; a smaller image is filled with zeros.
    channels
        That the network gives.
    """

    def __init__(
        self, dataset: Dataset, folder: Path, package: Package, *, size: Size, channels: int
    ) -> None:
        self.size, self.channels = size, channels
        self._dataset, self._folder, self._package = dataset, folder, package
        self._cases = tuple(dataset.of_split("train"))
        self._values = {label.name: label.value for label in dataset.labels}
        if problems := tuple(self._problems()):
            raise SetupError("\n".join(problems))
        self._prepared = lru_cache(maxsize=64)(self._prepare)

    def __call__(self, seed: int) -> Sample:
        """Return an image (channel, x, y, z) and its truth: masks of that size, or classes."""
        chance = np.random.default_rng(seed)
        number = int(chance.integers(len(self._cases)))
        case = self._prepared(number)
        if self._package.manifest.task is Task.CLASSIFICATION:
            place = tuple(slice(None) for _ in self.size)
            truth: NDArray[np.float32] = self._classes(self._cases[number])
        else:
            place = _window(case.truth, self.size, chance)
            truth = _cut(case.truth, place, self.size).astype(np.float32)
        image = _cut(case.voxels[np.newaxis], place, self.size).astype(np.float32)
        image = np.repeat(image, self._package.manifest.input.channels, axis=0)
        return torch.from_numpy(image), torch.from_numpy(truth)

    def _problems(self) -> Sequence[str]:
        manifest = self._package.manifest
        problems = []
        if not self._cases:
            problems.append("the data set has no case to train on")
        if manifest.inference.mode is Mode.SLICES or manifest.input.channels_last:
            problems.append(
                "networks of single slices, or with channels last, are not trained here"
            )
        known = {label.type.meaning for label in manifest.labels} | {
            label.concept.meaning for label in manifest.classes
        }
        named = {*self._values, *self._dataset.targets}
        if not known & named:
            problems.append(
                f"the data set names {', '.join(sorted(named))}, the package "
                f"{', '.join(sorted(known))}"
            )
        return problems

    def _prepare(self, number: int) -> _Prepared:
        case, manifest = self._cases[number], self._package.manifest
        volume = volume_of_case(self._package, case, self._folder)
        block = prepared(Block(voxels=volume.voxels, grid=volume.grid), manifest.input)
        modality = volume.instances[0].series.modality
        scale = scale_of(block.voxels, manifest.input.intensity_of(modality))
        truth = np.zeros((self.channels, *block.grid.shape), np.bool_)
        if case.label is not None:
            label = label_of_case(case, self._folder, volume)
            for each in manifest.labels:
                mask = label == self._values.get(each.type.meaning, 0)
                truth[each.channel] = resample_mask(mask & (label > 0), volume.grid, block.grid)
        if manifest.inference.activation is Activation.SOFTMAX:
            truth[0] = ~truth[1:].any(axis=0)
        return _Prepared(voxels=scale(block.voxels), truth=truth)

    def _classes(self, case: Case) -> NDArray[np.float32]:
        names = [label.concept.meaning for label in self._package.manifest.classes]
        return np.array([name == case.target for name in names], dtype=np.float32)


def _window(truth: NDArray[np.bool_], size: Size, chance: np.random.Generator) -> tuple[slice, ...]:
    """Return where a window lies; it stays within the image where that is large enough."""
    shape = truth.shape[1:]
    middle = [int(chance.integers(n)) for n in shape]
    labelled = np.argwhere(truth[-1] if len(truth) > 1 else truth[0])
    if len(labelled) and chance.random() < _ON_LABEL:
        middle = labelled[int(chance.integers(len(labelled)))].tolist()
    starts = [
        min(max(at - wanted // 2, 0), max(n - wanted, 0))
        for at, wanted, n in zip(middle, size, shape, strict=True)
    ]
    return tuple(slice(start, start + wanted) for start, wanted in zip(starts, size, strict=True))


def _cut(array: NDArray[np.generic], place: tuple[slice, ...], size: Size) -> NDArray[np.generic]:
    """Return the window of (channel, x, y, z); a smaller image gets zeros as it does in serving."""
    part = array[(slice(None), *place)]
    margins = [padding(have, n) for n, have in zip(size, part.shape[1:], strict=True)]
    return np.pad(part, [(0, 0), *margins])
