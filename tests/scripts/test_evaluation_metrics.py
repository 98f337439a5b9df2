"""Measures agree with what can be counted by hand."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from scripts.evaluation_metrics import (
    agreement,
    auroc,
    brier,
    estimate,
    expected_calibration_error,
    ranked,
    reliability,
)


def block(start: int, stop: int) -> np.ndarray:
    mask = np.zeros((20, 20, 20), np.bool_)
    mask[start:stop, 5:15, 5:15] = True
    return mask


def test_a_block_moved_by_two_slices_of_three_millimetres():
    found = agreement(block(5, 15), block(7, 17), (3.0, 1.0, 1.0))
    assert found.dice == pytest.approx(0.8)
    assert found.hd95_mm == pytest.approx(6.0)
    assert found.truth_ml == pytest.approx(3.0)
    assert found.error_ml == pytest.approx(0.0)


def test_the_volume_error_has_a_sign():
    found = agreement(block(5, 10), block(5, 15), (1.0, 1.0, 1.0))
    assert (found.error_ml, found.error_percent) == pytest.approx((-0.5, -50))


def test_nothing_found_where_nothing_is_is_right_and_has_no_distance():
    none = block(0, 0)
    assert agreement(none, none, (1, 1, 1)).dice == 1
    missed = agreement(none, block(5, 15), (1, 1, 1))
    assert (missed.dice, missed.hd95_mm) == (0, None)
    assert agreement(block(5, 15), none, (1, 1, 1)).error_percent is None


def test_auroc_is_that_of_mann_and_whitney_with_ties():
    scores = np.array([0.1, 0.4, 0.4, 0.8, 0.4, 0.9])
    positive = np.array([False, False, True, True, False, True])
    u = mannwhitneyu(scores[positive], scores[~positive]).statistic
    assert auroc(scores, positive) == pytest.approx(u / 9)
    assert ranked(scores[:2], positive[:2], ["a", "b"], seed=1).value is None


def test_intervals_are_repeatable_and_draw_patients_not_cases():
    values = [0.0, 1.0, 0.5, 0.7]
    wide = estimate(values, ["a", "b", "c", "d"], seed=7)
    assert wide == estimate(values, ["a", "b", "c", "d"], seed=7)
    assert wide.value == pytest.approx(0.55)
    assert wide.low is not None
    assert wide.high is not None
    assert 0 <= wide.low < 0.55 < wide.high <= 1
    same = estimate(values, ["a", "a", "a", "a"], seed=7)
    assert (same.value, same.low, same.count) == (pytest.approx(0.55), None, 4)


def test_calibration():
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.35, 0.65], [0.35, 0.65]])
    truth = np.array([0, 1, 1, 1])
    np.testing.assert_allclose(brier(probabilities, truth)[:2], [0.005, 1.805])
    bins = reliability(probabilities, truth)
    assert [(b.count, b.accuracy) for b in bins] == [(2, 1.0), (2, 0.5)]
    assert expected_calibration_error(bins) == pytest.approx((0.35 + 0.45) / 2)
