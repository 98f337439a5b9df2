"""How good a series is for measuring, in points of 100, where several would do.

| points | for |
|---|---|
| 40 | resolution: 40 at 1 mm or finer along every axis, 40 / d at d mm along the coarsest |
| 20 | coverage: 20 at 200 mm or more along the thinnest side, proportionally less below |
| 20 | origin: 20 as acquired, 10 reformatted or derived, 0 projected, subtracted or calculated |
| 10 | what is known of it: 10 when nothing need be said, 5 less for each note |
| 10 | region: 10 if the header and the descriptions name the same, 5 if not or only one does |

Equal scores are told apart by more slices, then the lower series number, then the UID.
"""

from imaging.origin import DERIVED, PRIMARY, REFORMATTED, origin
from imaging.region import regions_named
from imaging.stack import Stack

_FINE_MM, _FINE_POINTS = 1.0, 40.0
_WIDE_MM, _WIDE_POINTS = 200.0, 20.0
_ORIGIN_POINTS = {PRIMARY: 20.0, REFORMATTED: 10.0, DERIVED: 10.0}
_NOTE_POINTS, _REGION_POINTS = 10.0, 10.0


def score(stack: Stack) -> float:
    """Return the points of a stack, from 0 to 100, rounded to tenths."""
    header = stack.instances[0]
    resolution = _FINE_POINTS * min(1.0, _FINE_MM / max(stack.grid.spacing_mm))
    coverage = _WIDE_POINTS * min(1.0, min(stack.grid.extent_mm) / _WIDE_MM)
    made = _ORIGIN_POINTS.get(origin(header), 0.0)
    known = max(0.0, _NOTE_POINTS - len(stack.notes) * _NOTE_POINTS / 2)
    return round(resolution + coverage + made + known + _region(stack), 1)


def _region(stack: Stack) -> float:
    series, study = stack.instances[0].series, stack.instances[0].study
    declared = set(regions_named(series.body_part))
    described = set(regions_named("", series.description, series.protocol, study.description))
    return _REGION_POINTS if declared & described else _REGION_POINTS / 2
