"""How far values have moved: the population stability index of recent and earlier ones; pure."""

from collections.abc import Sequence

import numpy as np

_SHARES = (0.2, 0.4, 0.6, 0.8)  # few steps: more would find drift in chance alone
_HALF = 0.5  # what an empty cell counts as, so that its logarithm is finite


def stability_index(before: Sequence[float], now: Sequence[float]) -> float:
    """Return the sum of (share now - share before) * ln(share now / share before) over cells.

    Cells lie between the fifths of what was before; a value that is a border itself is a cell of
    its own, so that settings which never change count too.
    """
    borders = np.unique(np.quantile(before, _SHARES, method="inverted_cdf"))
    earlier, later = (_counts(values, borders) for values in (before, now))
    used = (earlier + later) > 0
    shares = [
        np.maximum(counts[used], _HALF) / np.maximum(counts[used], _HALF).sum()
        for counts in (earlier, later)
    ]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def _counts(values: Sequence[float], borders: np.ndarray) -> np.ndarray:
    below, through = (np.searchsorted(borders, values, side=s) for s in ("left", "right"))
    return np.bincount(below + through, minlength=2 * len(borders) + 1)
