"""Heads that never were: a label map deformed, painted in a chance contrast, and spoilt.

After the idea of SynthSeg (Billot et al., Medical Image Analysis 86, 2023, 102789): a network that
sees every contrast, resolution and artefact in training depends on none. Each image is a function
of its seed alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage as ndi
from torch.nn import functional

from scripts.heads.contrast import painted
from scripts.heads.label_maps import LabelMap
from scripts.heads.tissues import SPACING_MM, Bools, Tissue, within

Tensor = torch.Tensor
CHANNELS = ("intracranial", "brain", "lateral ventricles")
_REAL = 0.3  # share of images whose contrast is that of the scan itself, where there is one


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Source:
    """A label map ready to be deformed."""

    head: LabelMap
    labels: Tensor  # (1, 1, x, y, z)
    image: Tensor | None
    middle: Tensor  # of the inside, in voxels
    towards: Tensor  # (1, 4, x, y, z): distance to the ventricles, and its gradient


class Heads:
    """Training images by seed.

    Attributes
    ----------
    size, spacing_mm
        Of the images, (x, y, z), axes to the right, front and head.
    """

    def __init__(
        self, heads: Sequence[LabelMap], *, size: tuple[int, int, int], spacing_mm: float
    ) -> None:
        self.size, self.spacing_mm = size, spacing_mm
        self._sources = [_source(head) for head in heads]
        weights = np.array([head.weight for head in heads])
        self._shares = weights / weights.sum()
        axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in size]
        places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
        self._places = places * (spacing_mm / SPACING_MM)

    def __call__(self, seed: int) -> tuple[Tensor, Tensor]:
        """Return an image (1, x, y, z) in 0..1 and its truth (`CHANNELS`, x, y, z) in {0, 1}."""
        chance = np.random.default_rng(seed)
        noise = torch.Generator().manual_seed(seed)
        source = self._sources[chance.choice(len(self._sources), p=self._shares)]
        grid = _normal(self._deformed(source, chance), source.labels.shape[2:])
        labels = _looked_up(source.labels, grid, mode="nearest")[0].round().long()
        real = source.image is not None and chance.random() < _REAL
        image = _looked_up(source.image, grid)[0] if real and source.image is not None else None
        values = painted(labels, image, is_ct=source.head.is_ct, chance=chance, noise=noise)
        ended = _end_of_view(self.size, chance)
        values[ended], labels[ended] = 0.0, int(Tissue.AIR)
        return values[None], _truth(labels)

    def _deformed(self, source: _Source, chance: np.random.Generator) -> Tensor:
        """Return where in the source each voxel comes from, (x, y, z, 3) in its voxels."""
        shift = torch.tensor(chance.uniform(-1, 1, 3) * (14, 18, 40), dtype=torch.float32)
        turn = torch.tensor(_affine(chance), dtype=torch.float32)
        where = (self._places - shift) @ turn.T + source.middle
        for step_mm, most in ((56, chance.uniform(0, 4)), (24, chance.uniform(0, 1.6))):
            where += self._waves(step_mm, most, chance)
        if chance.random() < 0.6:
            where -= _pull(source, where, chance.uniform(-0.3, 3.2))
        return where

    def _waves(self, step_mm: float, most: float, chance: np.random.Generator) -> Tensor:
        """Return a smooth displacement, at most so many voxels along each axis."""
        knots = [max(2, round(n * self.spacing_mm / step_mm) + 2) for n in self.size]
        field = torch.tensor(chance.normal(0, 1, (1, 3, *knots)), dtype=torch.float32)
        smooth = functional.interpolate(field, self.size, mode="trilinear", align_corners=True)
        return (most * smooth / smooth.abs().max())[0].permute(1, 2, 3, 0)


@lru_cache(maxsize=16)
def _source(head: LabelMap) -> _Source:
    inside, ventricles = within(head.labels), head.labels == Tissue.VENTRICLE
    return _Source(
        head=head,
        labels=torch.tensor(head.labels, dtype=torch.float32)[None, None],
        image=None if head.image is None else torch.tensor(head.image)[None, None],
        middle=torch.tensor(np.argwhere(inside).mean(0), dtype=torch.float32),
        towards=torch.tensor(_towards(ventricles), dtype=torch.float32)[None],
    )


def _towards(ventricles: Bools) -> np.ndarray:
    outside = ndi.distance_transform_edt(~ventricles).astype(np.float32)
    signed = ndi.gaussian_filter(outside - ndi.distance_transform_edt(ventricles), 1.5)
    return np.stack([outside, *np.gradient(signed)]).astype(np.float32)


def _affine(chance: np.random.Generator) -> np.ndarray:
    """Return a rotation, shear, scale and, half the time, a mirroring from left to right."""
    turn = np.eye(3)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        angle = np.deg2rad(chance.normal(0, 9))
        one = np.eye(3)
        one[[first, second], [first, second]] = np.cos(angle)
        one[first, second], one[second, first] = -np.sin(angle), np.sin(angle)
        turn = one @ turn
    scale = 1 / (chance.uniform(0.86, 1.16) * chance.uniform(0.93, 1.07, 3))
    scale[0] *= chance.choice([-1, 1])
    shear = np.eye(3) + np.triu(chance.normal(0, 0.04, (3, 3)), 1)
    return np.asarray(turn @ shear @ np.diag(scale))


def _pull(source: _Source, where: Tensor, most: float) -> Tensor:
    """Return what makes the ventricles larger by `most` voxels on all sides."""
    near = _looked_up(source.towards, _normal(where, source.labels.shape[2:]))
    weight = most * torch.exp(-((near[0] / 6) ** 2))
    return (weight * near[1:]).permute(1, 2, 3, 0)


def _normal(where: Tensor, shape: Sequence[int]) -> Tensor:
    """Return voxel positions in -1..1, last axis first, as torch's grid sampling wants them."""
    last = torch.tensor(shape, dtype=torch.float32) - 1
    return (2 * where / last - 1).flip(-1)[None]


def _looked_up(values: Tensor, grid: Tensor, mode: str = "bilinear") -> Tensor:
    low = float(values.min())
    found = functional.grid_sample(values - low, grid, mode=mode, align_corners=True)
    return found[0] + low


def _end_of_view(size: Sequence[int], chance: np.random.Generator) -> tuple[slice, ...]:
    """Return a part of the image that the scanner did not see; often none."""
    part = [slice(None)] * 3
    axis = int(chance.integers(3))
    thick = int(chance.uniform(0.05, 0.35) * size[axis])
    if chance.random() < 0.65:
        part[axis] = slice(0, 0)
    else:
        part[axis] = slice(0, thick) if chance.random() < 0.5 else slice(size[axis] - thick, None)
    return tuple(part)


def _truth(labels: Tensor) -> Tensor:
    inside = (labels >= Tissue.FLUID) & (labels <= Tissue.VENTRICLE)
    brain = (labels == Tissue.GREY) | (labels == Tissue.WHITE)
    return torch.stack([inside, brain, labels == Tissue.VENTRICLE]).float()
