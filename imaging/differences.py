"""What the images of one series may differ in, so that they belong to several stacks.

Three kinds: images on different grids cannot share a stack; images of different kinds (echo, b
value, kernel, ...) must not; repetitions (time points, directions, ...) share every place and are
told apart only when slices repeat their places.
"""

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.header import InstanceHeader
from imaging.spacing import Row, in_row, place_numbers
from imaging.tolerances import Tolerances

Headers = tuple[InstanceHeader, ...]
_Key = Callable[[InstanceHeader], Hashable]

# Values of Image Type that tell what the numbers are; others ("ADD", "NORM", ...) tell how they
# were made and may change within one stack.
_CONTENTS = frozenset((
    "M", "P", "R", "I", "MAGNITUDE", "PHASE", "REAL", "IMAGINARY", "PHASE MAP", "VELOCITY",
    "W", "WATER", "F", "FAT", "IP", "IN_PHASE", "OP", "OPP_PHASE", "OUT_PHASE",
    "FF", "FAT_FRACTION", "ADC", "EADC", "FA", "TRACE", "TRACEW", "COLFA",
    "CBF", "CBV", "RELCBV", "MTT", "TTP", "TMAX",
    "T1 MAP", "T2 MAP", "T2_STAR MAP", "R2_STAR MAP",
    "UNI", "UNI-DEN", "MPR", "MIP", "MINIP", "MIN_IP", "SUBTRACTION",
))  # fmt: skip
# Words of a software step, by which no stack is named.
_UNTELLING = frozenset(("", "ND", "NORM", "DIS2D", "DIS3D", "NONE", "FM", "FIL"))
# Echo times and b values vary a little within one echo and one shell.
_ECHO_MS, _ECHO_FRACTION = 0.05, 0.005
_B_VALUE, _B_FRACTION = 5.0, 0.025


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """Images of a series that agree in something; `name` says in what, e.g. "echo 2"."""

    name: str
    headers: Headers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Difference:
    """Groups that differ in `what`.

    `same_places` says that every group should hold every slice: a slice that only other groups
    have is missing.
    """

    what: str
    groups: tuple[Group, ...]
    same_places: bool = True


def of_grid(headers: Headers, tolerances: Tolerances) -> Iterator[Difference]:
    """Yield what keeps images off one grid: frame of reference, orientation, matrix, pixels."""
    found = (
        _by_frame_of_reference(headers),
        _by_orientation(headers, tolerances),
        _by_size(headers),
        _by_pixel_spacing(headers, tolerances),
    )
    yield from (difference for difference in found if difference)


def of_kind(headers: Headers) -> Difference | None:
    """Return groups of the first kind in which the images differ; they must not share a stack."""
    contents = [_contents(header) for header in headers]
    return (
        _by_words(headers, contents)
        or _by_echo(headers)
        or _by_b_value(headers)
        or _by_kernel(headers)
    )


def of_repetition(headers: Headers, tolerances: Tolerances) -> Iterator[Difference]:
    """Yield ways to tell apart all images that share a place, the most telling first."""
    places = _places(headers, tolerances)
    most = int(np.bincount(places).max())  # as many repetitions as the fullest place has images
    telling = [(what, key) for what, key in _REPETITIONS if len({key(h) for h in headers}) > 1]
    for some in (1, 2):
        for chosen in combinations(telling, some):
            keys = [tuple(key(h) for _, key in chosen) for h in headers]
            if len(set(keys)) != most or len(set(zip(places, keys, strict=True))) < len(headers):
                continue
            found = _numbered(headers, [what for what, _ in chosen], keys)
            by_words = _by_words(headers, list(map(_words, headers)))
            yield by_words if by_words and found.what == by_words.what else found
    yield from _by_rank(headers, places)


def of_slabs(row: Row, why: str) -> Iterator[Difference]:
    """Yield ways to take slabs apart that were glued together, where `why` they are no one stack.

    Slices missing where one acquisition ends and the next begins are missing, unless the sender
    says that these are two stacks. Packages that interleave are no slabs.
    """
    for what, key in _SLABS.get(why, ()):
        keys = [key(header) for header in row.headers]
        if len(set(keys)) > 1 and _beside_one_another(row, keys):
            yield _numbered(row.headers, [what], keys)


def _beside_one_another(row: Row, keys: Sequence[Hashable]) -> bool:
    """Whether no two groups share more than half of the shorter one's length."""
    ends = [
        (min(places), max(places))
        for group in dict.fromkeys(keys)
        for places in [[p for p, key in zip(row.places_mm, keys, strict=True) if key == group]]
    ]
    return all(
        min(a[1], b[1]) - max(a[0], b[0]) <= min(a[1] - a[0], b[1] - b[0]) / 2
        for a, b in combinations(ends, 2)
    )


# Values that mark a repetition, and what they are called

_REPETITIONS: tuple[tuple[str, _Key], ...] = (
    ("image type", lambda h: tuple(sorted(_words(h)))),
    ("stack", lambda h: h.acquisition.stack_id),
    ("direction", lambda h: _rounded(h.acquisition.gradient)),
    ("time", lambda h: h.acquisition.temporal_position or 0),
    ("label", lambda h: h.acquisition.label),
    ("phase", lambda h: h.acquisition.phase_percent or 0.0),
    ("inversion time", lambda h: h.acquisition.inversion_time_ms or 0.0),
    ("flip angle", lambda h: h.acquisition.flip_angle_deg or 0.0),
    ("echo", lambda h: h.acquisition.echo_number or 0),
    ("tube voltage", lambda h: h.acquisition.kilovolts or 0.0),
    ("contrast agent", lambda h: h.acquisition.contrast_agent),
    ("acquisition", lambda h: h.acquisition.number or 0),
    ("trigger time", lambda h: h.acquisition.trigger_time_ms or 0.0),
    ("reference time", lambda h: h.acquisition.reference_time_ms or 0.0),
    ("acquisition time", lambda h: h.acquisition.moment),
    ("slice thickness", lambda h: h.image.slice_thickness_mm or 0.0),
    ("dimension", lambda h: h.acquisition.dimensions),
    ("origin", lambda h: h.acquisition.image_type[:2]),
    ("series number", lambda h: h.series.number or 0),
)
# What may cover less of the patient than its like without anything missing.
_OWN_COVERAGE = frozenset(
    ("stack", "acquisition", "slice thickness", "origin", "series number", "contrast agent")
)
# What marks slabs of one series, by why they are no one stack.
_STACK: tuple[str, _Key] = ("stack", lambda h: h.acquisition.stack_id)
_GLUED: tuple[tuple[str, _Key], ...] = (
    _STACK,
    ("acquisition", lambda h: h.acquisition.number or 0),
    ("series number", lambda h: h.series.number or 0),
    ("acquisition time", lambda h: h.acquisition.moment),
)
_SLABS: Mapping[str, tuple[tuple[str, _Key], ...]] = {
    "UNEVEN_SPACING": _GLUED,
    "NOT_ALIGNED": _GLUED,
    "TILTED": _GLUED,
    "MISSING_SLICES": (_STACK,),
}
_RANKS: tuple[tuple[str, _Key], ...] = (
    ("phase", lambda h: h.acquisition.trigger_time_ms),
    ("time", lambda h: h.acquisition.reference_time_ms),
    ("time", lambda h: _digits(h.acquisition.moment)),
    ("repetition", lambda h: h.instance_number),
    ("repetition", lambda h: h.part),
)


def _digits(moment: str) -> float | None:
    """Return a date and time as one number, which rises with time."""
    digits = moment.replace(":", "").split("+")[0].split("-")[0]
    return float(digits) if digits.replace(".", "", 1).isdecimal() else None


def _rounded(gradient: Sequence[float] | None) -> tuple[float, ...]:
    return tuple(round(value, 3) + 0.0 for value in gradient or ())


def _by_rank(headers: Headers, places: Sequence[int]) -> Iterator[Difference]:
    """Let order decide: the n-th image of each place, where all places have as many images."""
    counts = np.bincount(places)
    if counts.min() != counts.max() or counts.max() == 1:
        return
    for what, key in _RANKS:
        found = np.array([math.nan if (v := key(h)) is None else v for h in headers], dtype=float)
        if np.isnan(found).any() or len(set(zip(places, found, strict=True))) != len(headers):
            continue
        ranks = np.empty(len(headers), dtype=int)
        ranks[np.lexsort((found, np.array(places)))] = np.tile(np.arange(counts[0]), len(counts))
        if what != "repetition" or _in_turn(found, ranks) or _in_turn(found, np.array(places)):
            yield _numbered(headers, [what], ranks.tolist())


def _in_turn(values: NDArray[np.float64], groups: NDArray[np.intp]) -> bool:
    """Whether the values of one group end before those of the next begin."""
    changes = np.count_nonzero(np.diff(groups[np.argsort(values)]))
    return bool(changes == len(np.unique(groups)) - 1)


def _places(headers: Headers, tolerances: Tolerances) -> list[int]:
    row = in_row(headers)
    numbers = dict(zip(map(id, row.headers), place_numbers(row, tolerances), strict=True))
    return [numbers[id(header)] for header in headers]


# Grids


def _by_frame_of_reference(headers: Headers) -> Difference | None:
    uids = [h.image.frame_of_reference_uid for h in headers]
    names = {uid: f"frame of reference {n}" for n, uid in enumerate(dict.fromkeys(uids), 1)}
    return _grouped(headers, "frame of reference", uids, names=names)


def _by_size(headers: Headers) -> Difference | None:
    sizes = [f"{h.image.rows} x {h.image.columns}" for h in headers]
    return _grouped(headers, "matrix", sizes, names={size: size for size in sizes})


def _by_pixel_spacing(headers: Headers, tolerances: Tolerances) -> Difference | None:
    spacings = np.array([h.image.pixel_spacing_mm for h in headers])
    numbers = _alike(spacings, tolerances.pixel_spacing_mm)
    names = {n: f"pixels {n + 1}" for n in numbers}
    return _grouped(headers, "pixel spacing", numbers, names=names)


def _by_orientation(headers: Headers, tolerances: Tolerances) -> Difference | None:
    numbers = _alike(np.array([h.image.orientation for h in headers]), tolerances.direction)
    names = {n: f"orientation {n + 1}" for n in numbers}
    return _grouped(headers, "orientation", numbers, names=names)


# Kinds


def _words(header: InstanceHeader) -> frozenset[str]:
    """Return Image Type beyond its second value and the complex component."""
    a = header.acquisition
    return frozenset((*a.image_type[2:], a.complex_component)) - _UNTELLING


def _contents(header: InstanceHeader) -> frozenset[str]:
    """Return what the numbers are, by words of Image Type and the complex component."""
    return _words(header) & _CONTENTS


def _by_words(headers: Headers, kinds: Sequence[frozenset[str]]) -> Difference | None:
    common = frozenset.intersection(*kinds)
    names = {kind: " ".join(sorted(kind - common)) or "other" for kind in kinds}
    return _grouped(headers, "image type", kinds, names=names)


def _by_echo(headers: Headers) -> Difference | None:
    times = [h.acquisition.echo_time_ms or 0.0 for h in headers]
    numbers = _clustered(times, _ECHO_MS, _ECHO_FRACTION)
    return _grouped(
        headers, "echo time", numbers, names={n: f"echo {n + 1}" for n in sorted(set(numbers))}
    )


def _by_b_value(headers: Headers) -> Difference | None:
    values = [h.acquisition.b_value or 0.0 for h in headers]
    numbers = _clustered(values, _B_VALUE, _B_FRACTION)
    names = {n: f"b {_mean(values, numbers, n):.0f}" for n in sorted(set(numbers))}
    return _grouped(headers, "b value", numbers, names=names)


def _by_kernel(headers: Headers) -> Difference | None:
    kernels = [h.acquisition.kernel for h in headers]
    names = {kernel: f"kernel {kernel.replace(chr(92), ' ')}" for kernel in kernels}
    found = _grouped(headers, "kernel", kernels, names=names)
    return replace(found, same_places=False) if found else None


def _mean(values: Sequence[float], numbers: Sequence[int], number: int) -> float:
    return float(np.mean([v for v, n in zip(values, numbers, strict=True) if n == number]))


# Grouping


def _clustered(values: Sequence[float], least: float, fraction: float) -> list[int]:
    """Return for each value the number of its cluster; clusters rise and lie apart."""
    levels = np.unique(values)
    apart = np.diff(levels) > np.maximum(least, fraction * np.abs(levels[1:]))
    numbers = np.concatenate(([0], np.cumsum(apart)))
    return [int(n) for n in numbers[np.searchsorted(levels, values)]]


def _alike(rows: NDArray[np.float64], tolerance: float) -> list[int]:
    """Return for each row the number of the first group whose first row it agrees with."""
    firsts: list[NDArray[np.float64]] = []
    numbers = []
    for row in rows:
        near = (i for i, first in enumerate(firsts) if np.abs(row - first).max() <= tolerance)
        number = next(near, len(firsts))
        if number == len(firsts):
            firsts.append(row)
        numbers.append(number)
    return numbers


def _numbered(headers: Headers, whats: Sequence[str], keys: Sequence[Any]) -> Difference:
    what = " and ".join(whats)
    names = {key: f"{what} {n}" for n, key in enumerate(sorted(set(keys)), 1)}
    found = _grouped(headers, what, keys, names=names)
    assert found is not None  # what repeats a place is told apart, so there are several groups
    return replace(found, same_places=not _OWN_COVERAGE.intersection(whats))


def _grouped(
    headers: Headers, what: str, keys: Sequence[Hashable], *, names: Mapping[Any, str]
) -> Difference | None:
    """Return groups in order of their names' first use; ``None`` when there is only one."""
    members: dict[Hashable, list[InstanceHeader]] = {}
    for header, key in zip(headers, keys, strict=True):
        members.setdefault(key, []).append(header)
    if len(members) == 1:
        return None
    ordered = [key for key in names if key in members]
    groups = tuple(Group(name=names[key], headers=tuple(members[key])) for key in ordered)
    return Difference(what=what, groups=groups)
