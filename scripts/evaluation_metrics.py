"""How good answers are: measures of one case, and of many with intervals; pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from imaging.findings import Mask

Numbers = NDArray[np.float64]
_FAR_PERCENT = 95
_BINS = 10
_MIDDLE_95 = (2.5, 97.5)
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """A mask beside the truth. `hd95_mm` is ``None`` where one of them is empty."""

    dice: float
    hd95_mm: float | None
    truth_ml: float
    answer_ml: float

    @property
    def error_ml(self) -> float:
        """How much too large the answer is."""
        return self.answer_ml - self.truth_ml

    @property
    def error_percent(self) -> float | None:
        """The same in percent of the truth; ``None`` where that is empty."""
        return 100 * self.error_ml / self.truth_ml if self.truth_ml else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its 95 % interval, from `count` cases; ``None`` where it cannot be said."""

    value: float | None
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Answers of about one confidence: how many, how sure they were, how many were right."""

    count: int
    confidence: float
    accuracy: float


def agreement(answer: Mask, truth: Mask, spacing_mm: tuple[float, float, float]) -> Agreement:
    """Compare masks on one grid; `spacing_mm` is (slice, row, column)."""
    ours, theirs, both = (int(m.sum()) for m in (answer, truth, answer & truth))
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    return Agreement(
        dice=2 * both / (ours + theirs) if ours + theirs else 1.0,
        hd95_mm=_hd95(answer, truth, spacing_mm) if ours and theirs else None,
        truth_ml=theirs * voxel_ml,
        answer_ml=ours * voxel_ml,
    )


def estimate(
    values: Sequence[float],
    patients: Sequence[str],
    *,
    seed: int,
    statistic: Callable[[Numbers], float] | None = None,
) -> Estimate:
    """Return the mean, or another statistic, with the interval over resampled patients.

    Patients and not cases are drawn, because cases of one patient are alike.
    """
    count = len(values)
    if not count:
        return Estimate(value=None, low=None, high=None, count=0)
    of, numbers = statistic or (lambda v: float(np.mean(v))), np.asarray(values, np.float64)
    drawn = [of(numbers[rows]) for rows in resampled(patients, seed=seed)]
    return _estimate(of(numbers), drawn, count)


def resampled(patients: Sequence[str], *, seed: int) -> list[NDArray[np.intp]]:
    """Return the rows of each bootstrap sample; none for fewer than two patients."""
    names, of_row = np.unique(np.asarray(patients), return_inverse=True)
    if len(names) < 2:  # noqa: PLR2004 - nothing to draw from
        return []
    rows = [np.flatnonzero(of_row == index) for index in range(len(names))]
    chance = np.random.default_rng(seed)
    draws = chance.integers(len(names), size=(_RESAMPLES, len(names)))
    return [np.concatenate([rows[index] for index in draw]) for draw in draws]


def auroc(scores: Numbers, positive: NDArray[np.bool_]) -> float:
    """Return the chance that a positive has a higher score than a negative; NaN without both."""
    yes, no = scores[positive], scores[~positive]
    if not len(yes) or not len(no):
        return float("nan")
    higher = (yes[:, None] > no).mean()
    return float(higher + (yes[:, None] == no).mean() / 2)


def ranked(
    scores: Numbers, positive: NDArray[np.bool_], patients: Sequence[str], *, seed: int
) -> Estimate:
    """Return the AUROC with its interval; samples without both kinds do not count."""
    drawn = [auroc(scores[rows], positive[rows]) for rows in resampled(patients, seed=seed)]
    return _estimate(auroc(scores, positive), drawn, len(scores))


def brier(probabilities: Numbers, truth: NDArray[np.intp]) -> Numbers:
    """Return the squared error of each row of probabilities, summed over the classes."""
    return np.asarray(((probabilities - np.eye(probabilities.shape[1])[truth]) ** 2).sum(axis=1))


def reliability(probabilities: Numbers, truth: NDArray[np.intp]) -> tuple[Bin, ...]:
    """Return how right answers are beside how sure they were, in ten steps; empty ones left out."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    place = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    return tuple(
        Bin(
            count=int(inside.sum()),
            confidence=float(confidence[inside].mean()),
            accuracy=float(right[inside].mean()),
        )
        for step in range(_BINS)
        if (inside := place == step).any()
    )


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Return the mean distance between confidence and accuracy, weighted by cases."""
    total = sum(each.count for each in bins)
    return sum(each.count * abs(each.confidence - each.accuracy) for each in bins) / total


def _estimate(value: float, drawn: Sequence[float], count: int) -> Estimate:
    sound = [each for each in drawn if np.isfinite(each)]
    if not np.isfinite(value):
        return Estimate(value=None, low=None, high=None, count=count)
    if not sound:
        return Estimate(value=value, low=None, high=None, count=count)
    low, high = (float(each) for each in np.percentile(sound, _MIDDLE_95))
    return Estimate(value=value, low=low, high=high, count=count)


def _hd95(answer: Mask, truth: Mask, spacing_mm: tuple[float, float, float]) -> float:
    """Return the distance that 95 % of either surface keep to the other; the worse direction."""
    images = [_image(mask, spacing_mm) for mask in (answer, truth)]
    surfaces = [sitk.GetArrayFromImage(sitk.LabelContour(image)) > 0 for image in images]
    distances = [
        np.abs(
            sitk.GetArrayFromImage(
                sitk.SignedMaurerDistanceMap(
                    _image(surface, spacing_mm), squaredDistance=False, useImageSpacing=True
                )
            )
        )
        for surface in surfaces
    ]
    there = np.percentile(distances[1][surfaces[0]], _FAR_PERCENT)
    back = np.percentile(distances[0][surfaces[1]], _FAR_PERCENT)
    return float(max(there, back))


def _image(mask: Mask, spacing_mm: tuple[float, float, float]) -> sitk.Image:
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing_mm[::-1])
    return image
