"""Whether slices of one orientation stand evenly over one another, and which are missing.

Places are distances in mm along the common normal (PS3.3 C.7.6.2.1.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imaging.geometry import Matrix
from imaging.header import InstanceHeader
from imaging.reasons import Reason, reason
from imaging.slices import normal_of, positions_of
from imaging.tolerances import Tolerances


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """Slices in order of their places; `places_mm` rises."""

    headers: tuple[InstanceHeader, ...]
    places_mm: Matrix

    @property
    def gap_mm(self) -> float:
        """The usual distance between neighbours: the median, the lower of two in the middle.

        Gaps where slices are missing are too wide, never too narrow.
        """
        gaps = np.sort(np.diff(self.places_mm))
        return float(gaps[(len(gaps) - 1) // 2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Lean:
    """How a stack leans.

    `angle_deg` lies between the line of first pixels and the normal, and `shift_mm` is how far it
    moves the last slice against the first; `astray_mm` is how far the slice farthest from that
    line lies beside it.
    """

    angle_deg: float
    shift_mm: float
    astray_mm: float


def in_row(headers: Sequence[InstanceHeader]) -> Row:
    """Return slices sorted by their places; what has the same place keeps its order."""
    along = positions_of(headers) @ normal_of(headers[0])
    order = np.argsort(along, kind="stable")
    return Row(headers=tuple(headers[i] for i in order), places_mm=along[order])


def why_uneven(row: Row, tolerances: Tolerances) -> Reason | None:
    """Return why the slices are no even stack: repeated, too few, missing, uneven."""
    return _duplicates(row, tolerances) or _too_few(row, tolerances) or _gaps(row, tolerances)


def place_numbers(row: Row, tolerances: Tolerances) -> tuple[int, ...]:
    """Return for each slice the number of its place, counted from 0; slices may share one."""
    apart = np.diff(row.places_mm) >= tolerances.same_place_mm
    return (0, *np.cumsum(apart).tolist())


def missing_from(row: Row, whole: Row, tolerances: Tolerances) -> Matrix:
    """Return the places of `whole` that `row` has no slice in."""
    nearest = np.abs(whole.places_mm[:, np.newaxis] - row.places_mm).min(axis=1)
    missing: Matrix = whole.places_mm[nearest > allowed_mm(whole.gap_mm, tolerances)]
    return missing


def beyond(row: Row, whole: Row, tolerances: Tolerances) -> Matrix:
    """Return the places of `whole` before or after `row` where it would go on evenly."""
    steps = (whole.places_mm - row.places_mm[0]) / row.gap_mm
    nearest = steps.round()
    outside = (nearest < 0) | (nearest >= len(row.headers))
    off_mm = np.abs(steps - nearest) * row.gap_mm
    places: Matrix = whole.places_mm[outside & (off_mm <= allowed_mm(row.gap_mm, tolerances))]
    apart = np.diff(places, prepend=-np.inf) >= tolerances.same_place_mm
    return places[apart]


def missing_slices(row: Row, places_mm: Matrix) -> Reason:
    """Return the reason that slices are missing at `places_mm`."""
    return reason(
        "MISSING_SLICES",
        missing=len(places_mm),
        count=len(row.headers),
        spacing_mm=row.gap_mm,
        positions_mm=tuple(places_mm.tolist()),
    )


def allowed_mm(gap_mm: float, tolerances: Tolerances) -> float:
    """Return how far a slice may lie from its even place."""
    small = min(tolerances.uneven_mm, tolerances.uneven_fraction_of_small * gap_mm)
    return max(small, tolerances.uneven_fraction * gap_mm)


def lean_of(row: Row) -> Lean:
    """Return how an even stack leans."""
    positions, normal = positions_of(row.headers), normal_of(row.headers[0])
    along = row.places_mm - row.places_mm[0]
    axis = (positions[-1] - positions[0]) / along[-1]
    line = positions[0] + np.outer(along, axis)
    slope = float(np.linalg.norm(axis - normal))
    return Lean(
        angle_deg=float(np.degrees(np.arctan(slope))),
        shift_mm=slope * float(along[-1]),
        astray_mm=float(np.linalg.norm(positions - line, axis=1).max()),
    )


def _too_few(row: Row, tolerances: Tolerances) -> Reason | None:
    count = len(row.headers)
    if count == 1:
        return reason("SINGLE_IMAGE")
    if count < tolerances.least_slices:
        return reason("FEW_SLICES", count=count, least=tolerances.least_slices)
    return None


def _duplicates(row: Row, tolerances: Tolerances) -> Reason | None:
    repeated = row.places_mm[1:][np.diff(row.places_mm) < tolerances.same_place_mm]
    if not repeated.size:
        return None
    return reason(
        "DUPLICATE_SLICES",
        repeated=len(repeated),
        count=len(row.headers),
        positions_mm=tuple(repeated.tolist()),
    )


def _gaps(row: Row, tolerances: Tolerances) -> Reason | None:
    along, gaps, usual = row.places_mm, np.diff(row.places_mm), row.gap_mm
    allowed = allowed_mm(usual, tolerances)
    if np.abs(along - np.linspace(along[0], along[-1], len(along))).max() <= allowed:
        return None
    steps = (gaps / usual).round()
    if steps.min() >= 1 and (np.abs(gaps - steps * usual) <= 2 * allowed * steps).all():
        missing = [
            along[i] + k * usual for i in np.flatnonzero(steps > 1) for k in range(1, int(steps[i]))
        ]
        if missing:
            return missing_slices(row, np.array(missing))
    least, most = float(gaps.min()), float(gaps.max())
    return reason("UNEVEN_SPACING", least_mm=least, most_mm=most, usual_mm=usual)
