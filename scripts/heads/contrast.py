"""How a head looks: intensities by tissue, lesions, blur, thick slices, bias field, noise."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from scripts.heads.tissues import Tissue

Tensor = torch.Tensor
Chance = np.random.Generator
_T = Tissue
_PATCHY = 0.75  # share of painted images whose soft tissue outside the skull is a patchwork

_DECOYED = 0.7  # share of painted images with lumps outside the skull that look like brain
_SOFT = (_T.FAT, _T.MUSCLE, _T.MARROW, _T.CAVITY)


def painted(
    labels: Tensor, scan: Tensor | None, *, is_ct: bool, chance: Chance, noise: torch.Generator
) -> Tensor:
    """Return an image in 0..1 of `labels` (x, y, z).

    `scan` gives the contrast where it is not None: the scan that the labels were drawn on,
    deformed likewise, in HU if `is_ct`.
    """
    if scan is not None:
        values = _as_scanned(scan, labels, is_ct=is_ct, chance=chance)
    else:
        means, spread, is_ct = _contrast(chance)
        values = means[labels] + spread[labels] * torch.randn(labels.shape, generator=noise)
        texture = _blurred(torch.randn(labels.shape, generator=noise), 3.0)
        values += texture / texture.std() * chance.uniform(0, 0.03) * (labels > 0)
        if chance.random() < _PATCHY:
            _patch_the_outside(values, labels, means, chance=chance, noise=noise)
        if chance.random() < _DECOYED:
            _add_decoys(values, labels, means, chance=chance, noise=noise)
        _add_lesions(values, labels, chance, strength=0.5 if is_ct else 1.0)
    values = _blurred(values, chance.uniform(0, 0.9))
    if chance.random() < 0.55:
        values = _thick_slices(values, chance, noise)
    if not is_ct and chance.random() < 0.8:
        values = values * torch.exp(_bias(values.shape, chance))
    grain = chance.choice([0.005, 0.02, 0.05]) * chance.uniform(0.3, 1.5)
    values = values + grain * torch.randn(labels.shape, generator=noise)
    return values.clamp(0, 1) if is_ct else _windowed(values.abs(), chance)


def _as_scanned(scan: Tensor, labels: Tensor, *, is_ct: bool, chance: Chance) -> Tensor:
    if is_ct:
        low, high = chance.uniform(-60, 0), chance.uniform(80, 220)
        return ((scan - low) / (high - low)).clamp(0, 1)
    values = (scan / torch.quantile(scan[::2, ::2, ::2].flatten(), 0.995)).clamp(0, 1.3)
    return torch.where(labels == _T.AIR, values, 1.1 - values) if chance.random() < 0.3 else values


# Mean intensity by tissue


def _contrast(chance: Chance) -> tuple[Tensor, Tensor, bool]:
    """Return mean and spread by tissue, and whether it is meant to look like CT."""
    means = chance.uniform(0, 1, len(_T))
    spread = chance.uniform(0.01, 0.08, len(_T))
    kinds: tuple[tuple[float, Callable[[np.ndarray, Chance], None]], ...] = (
        (0.30, _like_ct), (0.20, _like_t1), (0.18, _like_t2), (0.12, _like_flair),
        (0.20, _like_none),
    )  # fmt: skip
    kind = kinds[chance.choice(len(kinds), p=[share for share, _ in kinds])][1]
    kind(means, chance)
    if kind is _like_ct:
        spread[:] = chance.uniform(0, 0.03)
    if kind is not _like_none or chance.random() < 0.5:
        means[_T.CANAL], means[_T.CORD] = means[_T.FLUID], means[_T.WHITE]
    return _tensor(means), _tensor(spread), kind is _like_ct


def _like_ct(means: np.ndarray, chance: Chance) -> None:
    grey, step = chance.uniform(0.3, 0.6), chance.uniform(0.02, 0.16)
    means[[_T.AIR, _T.CAVITY]] = -0.3
    means[_T.GREY], means[_T.WHITE] = grey, grey - chance.uniform(-0.01, 0.06)
    means[[_T.FLUID, _T.VENTRICLE]] = grey - step - chance.uniform(0, 0.05)
    means[_T.BONE], means[_T.MARROW] = chance.uniform(0.9, 1.4), chance.uniform(0.7, 1.3)
    means[_T.FAT], means[_T.MUSCLE] = chance.uniform(-0.3, 0.1), grey + chance.uniform(-0.1, 0.15)
    means[_T.SKIN] = grey + chance.uniform(-0.15, 0.1)


def _like_t1(means: np.ndarray, chance: Chance) -> None:
    white = chance.uniform(0.6, 0.9)
    grey = white * chance.uniform(0.6, 0.9)
    means[_T.WHITE], means[_T.GREY] = white, grey
    means[[_T.FLUID, _T.VENTRICLE]] = grey * chance.uniform(0.2, 0.6)
    _around(means, chance, bone=0.2, fat=(0.7, 1.3))


def _like_t2(means: np.ndarray, chance: Chance) -> None:
    grey = chance.uniform(0.35, 0.65)
    means[_T.GREY], means[_T.WHITE] = grey, grey * chance.uniform(0.6, 0.95)
    means[[_T.FLUID, _T.VENTRICLE]] = chance.uniform(0.7, 1.1)
    _around(means, chance, bone=0.15, fat=(0.2, 0.9))


def _like_flair(means: np.ndarray, chance: Chance) -> None:
    grey = chance.uniform(0.5, 0.8)
    means[_T.GREY], means[_T.WHITE] = grey, grey * chance.uniform(0.7, 1)
    means[[_T.FLUID, _T.VENTRICLE]] = chance.uniform(0.03, 0.25)
    _around(means, chance, bone=0.2, fat=(0.3, 1.1))


def _like_none(means: np.ndarray, chance: Chance) -> None:
    """Any contrast; only the fluids resemble each other."""
    means[_T.AIR] = chance.choice([0, 0, 0, chance.uniform(0, 0.3)])
    means[_T.VENTRICLE] = means[_T.FLUID] + chance.normal(0, 0.05)


def _around(means: np.ndarray, chance: Chance, *, bone: float, fat: tuple[float, float]) -> None:
    means[_T.AIR] = 0
    means[_T.BONE], means[_T.CAVITY] = chance.uniform(0, bone), chance.uniform(0, 0.15)
    means[_T.FAT] = chance.uniform(*fat)


# What else is in an image


def _patch_the_outside(
    values: Tensor, labels: Tensor, means: Tensor, *, chance: Chance, noise: torch.Generator
) -> None:
    """Paint muscle as a patchwork of up to four tissues, some as light or folded as brain.

    A real neck is no even grey: with an even one, any texture would be learnt as brain.
    """
    fields = [_lumps(labels.shape, chance.uniform(1.5, 7), noise) for _ in range(2)]
    kind = (fields[0] > 0).long() + 2 * (fields[1] > float(chance.uniform(-0.3, 0.6))).long()
    drawn = chance.choice([_T.MUSCLE, _T.MUSCLE, _T.FAT, _T.GREY, _T.WHITE, _T.FLUID], 4)
    shades = means[_tensor(drawn).long()] + _tensor(chance.normal(0, 0.06, 4))
    where = labels == _T.MUSCLE
    for tissue in (_T.FAT, _T.CAVITY, _T.MARROW):
        if chance.random() < 0.3:
            where = where | (labels == tissue)
    share = float(chance.uniform(0.4, 1))
    values[where] += share * (shades[kind] - means[labels])[where]


def _add_decoys(
    values: Tensor, labels: Tensor, means: Tensor, *, chance: Chance, noise: torch.Generator
) -> None:
    """Paint up to four large lumps of brain's looks into soft tissue outside the skull.

    A tongue is as large, round, grey and dark-rimmed as a brain.
    """
    soft = torch.isin(labels, torch.tensor(_SOFT))
    places = torch.nonzero(soft)
    for _ in range(chance.integers(1, 5) if len(places) else 0):
        middle = places[int(chance.integers(len(places)))].tolist()
        radii = chance.uniform(5, 18) * chance.uniform(0.7, 1.5, 3)
        squares = [
            ((torch.arange(n) - at) / radius) ** 2
            for n, at, radius in zip(labels.shape, middle, radii, strict=True)
        ]
        away = (squares[0][:, None, None] + squares[1][:, None] + squares[2]).sqrt()
        away += 0.2 * _lumps(labels.shape, 8, noise)
        inside, rim = soft & (away < 1), soft & (away >= 1) & (away < 1 + 2 / radii.mean())
        folded = _lumps(labels.shape, chance.uniform(2, 6), noise) > float(chance.uniform(-2, 1))
        shades = torch.where(folded, means[_T.GREY], means[chance.choice([_T.WHITE, _T.MUSCLE])])
        spread = chance.uniform(0.005, 0.05)
        values[rim] = means[chance.choice([_T.BONE, _T.CAVITY, _T.FAT])]
        values[inside] = (shades + spread * torch.randn(labels.shape, generator=noise))[inside]


def _lumps(shape: torch.Size, step: float, noise: torch.Generator) -> Tensor:
    """Return a smooth field of about unit spread, its lumps `step` voxels across."""
    knots = torch.randn([1, 1, *(int(n / step) + 2 for n in shape)], generator=noise)
    return functional.interpolate(knots, shape, mode="trilinear", align_corners=True)[0, 0]


def _add_lesions(values: Tensor, labels: Tensor, chance: Chance, *, strength: float) -> None:
    """Paint up to three lighter or darker lumps into the brain; the truth stays as it is."""
    brain = torch.nonzero((labels == _T.GREY) | (labels == _T.WHITE))
    if chance.random() > 0.35 or not len(brain):
        return
    inside = (labels >= _T.FLUID) & (labels <= _T.WHITE)
    for _ in range(chance.integers(1, 4)):
        middle = brain[int(chance.integers(len(brain)))].tolist()
        squares = [
            ((torch.arange(n) - at) / chance.uniform(0.7, 1.3)) ** 2
            for n, at in zip(labels.shape, middle, strict=True)
        ]
        distance = (squares[0][:, None, None] + squares[1][:, None] + squares[2]).sqrt()
        lump = torch.sigmoid(1.2 * (chance.uniform(2, 12) - distance)) * inside
        values += lump * float(chance.choice([-1, 1]) * chance.uniform(0.05, 0.4) * strength)


def _thick_slices(values: Tensor, chance: Chance, noise: torch.Generator) -> Tensor:
    """Return the image as if scanned in slices of 1 to 4 voxels, and interpolated."""
    axis, thick = int(chance.integers(3)), chance.uniform(1, 4)
    turned = _blurred(values, thick * 0.38, axes=(axis,)).movedim(axis, 0)
    count = max(4, round(len(turned) / thick))
    taken = ((torch.arange(count) + 0.5) * len(turned) / count - 0.5).round().long()
    slices = turned[taken.clamp(0, len(turned) - 1)]
    slices = slices + chance.uniform(0, 0.04) * torch.randn(slices.shape, generator=noise)
    place = (torch.arange(len(turned)) + 0.5) * count / len(turned) - 0.5
    low = place.floor().long().clamp(0, count - 1)
    share = (place - low).clamp(0, 1)[:, None, None]
    between = slices[low] * (1 - share) + slices[(low + 1).clamp(max=count - 1)] * share
    return between.movedim(0, axis)


def _bias(shape: torch.Size, chance: Chance) -> Tensor:
    """Return the logarithm of a smooth field."""
    knots = _tensor(chance.normal(0, 1, (1, 1, 4, 4, 4)))
    field = functional.interpolate(knots, shape, mode="trilinear", align_corners=True)[0, 0]
    return field / field.abs().max() * chance.uniform(0, 0.5)


def _windowed(values: Tensor, chance: Chance) -> Tensor:
    ends = _tensor(np.array([chance.uniform(0, 1), chance.uniform(98.5, 99.9)])) / 100
    low, high = torch.quantile(values[::2, ::2, ::2].flatten(), ends).tolist()
    scaled = ((values - low) / max(high - low, 1e-3)).clamp(0, 1)
    return torch.pow(scaled, float(np.exp(chance.normal(0, 0.25))))


def _blurred(values: Tensor, sigma: float, axes: tuple[int, ...] = (0, 1, 2)) -> Tensor:
    """Return `values` (x, y, z) smoothed by a Gaussian of `sigma` voxels."""
    if sigma < 0.1:
        return values
    reach = max(1, round(3 * sigma))
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    weights = weights / weights.sum()
    result = values[None, None]
    for axis in axes:
        shape, pad = [1, 1, 1, 1, 1], [0] * 6
        shape[axis + 2] = len(weights)
        pad[4 - 2 * axis] = pad[5 - 2 * axis] = reach
        padded = functional.pad(result, pad, mode="replicate")
        result = functional.conv3d(padded, weights.reshape(shape))
    return result[0, 0]


def _tensor(values: np.ndarray) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)
