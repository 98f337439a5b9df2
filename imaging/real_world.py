"""Real world value maps: stored values as a physical quantity (PS3.3 C.7.6.16.2.11).

Read and offered, never applied: a volume's values stay those of the modality transform.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from imaging.attributes import Attributes, integer, items, number, text

_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


@dataclass(frozen=True, slots=True, kw_only=True)
class RealWorldMap:
    """A straight line from stored values `first` to `last`: slope * stored + intercept, in `unit`.

    `unit` is the code value, in UCUM as a rule; `frame` is ``None`` when it holds for all frames.
    """

    slope: float
    intercept: float
    first: int
    last: int
    unit: str
    label: str
    frame: int | None


def real_world_maps(ds: Attributes) -> tuple[RealWorldMap, ...]:
    """Return the linear real world value maps of an instance; maps by table are left out."""
    found = list(_maps(ds, frame=None))
    for keyword in _GROUPS:
        for index, group in enumerate(items(ds, keyword)):
            found += _maps(group, frame=None if keyword == _GROUPS[0] else index)
    return tuple(found)


def _maps(ds: Attributes, *, frame: int | None) -> Iterator[RealWorldMap]:
    for item in items(ds, "RealWorldValueMappingSequence"):
        slope, intercept = (number(item, f"RealWorldValue{x}") for x in ("Slope", "Intercept"))
        first, last = (integer(item, f"RealWorldValue{x}ValueMapped") for x in ("First", "Last"))
        units = items(item, "MeasurementUnitsCodeSequence")
        if slope is None or intercept is None or first is None or last is None or not units:
            continue
        yield RealWorldMap(
            slope=slope,
            intercept=intercept,
            first=first,
            last=last,
            unit=text(units[0], "CodeValue"),
            label=text(item, "LUTLabel"),
            frame=frame,
        )
