"""What a structured report measures: the measurement groups of TID 1500, whoever wrote it.

Viewers write the groups differently: coordinates within a measurement or beside it, a name of a
tool as tracking identifier, and another tracking UID at each save.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom import Dataset

from imaging.attributes import items, number, text, vector
from imaging.codes import Code, Unit
from imaging.findings import Measurement

_GROUP = ("125007", "DCM")
_FINDING = ("121071", "DCM")
_TRACKING_UID = ("112040", "DCM")
_OBSERVER = ("121008", "DCM")
AREA = Code("42798000", "SCT", "Area")
SQUARE_MILLIMETRE = Unit("mm2", "square millimeter")
_TOLERANCE = 1e-3  # of a value: what rounding to a few digits changes
_SAME_POINT = 0.01  # pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A figure on one image; `points` are (column, row, column, row, ...) in pixels."""

    image_uid: str
    graphic_type: str
    points: tuple[float, ...]

    @property
    def pixels(self) -> float | None:
        """How many pixels a polygon holds; ``None`` for any other figure."""
        if self.graphic_type != "POLYLINE" or self.points[:2] != self.points[-2:]:
            return None
        columns, rows = self.points[::2], self.points[1::2]
        pairs = zip(columns, rows, columns[1:], rows[1:], strict=False)
        return abs(sum(x * next_y - next_x * y for x, y, next_x, next_y in pairs)) / 2

    def is_same(self, other: "Outline") -> bool:
        """Whether both surround the same pixels of one image; viewers may place points anew."""
        if self.image_uid != other.image_uid:
            return False
        if len(self.points) == len(other.points):
            return _close(self.points, other.points)
        areas, others = (self.pixels, other.pixels)
        if areas is None or others is None:
            return False
        return _close(self.box, other.box) and abs(areas - others) <= _TOLERANCE * areas

    @property
    def box(self) -> tuple[float, ...]:
        """The least and greatest column and row."""
        columns, rows = self.points[::2], self.points[1::2]
        return min(columns), max(columns), min(rows), max(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """All measurement groups of one tracking UID: what was found, and what was measured of it."""

    tracking_uid: str
    finding: Code | None
    measurements: tuple[Measurement, ...]
    outlines: tuple[Outline, ...]
    image_uids: frozenset[str]


def groups_of(ds: Dataset) -> tuple[Group, ...]:
    """Return the groups of a report; those without a tracking UID stay apart."""
    found: dict[str, Group] = {}
    for place, item in enumerate(i for i in _below(ds) if _is(i, _GROUP)):
        group = _group(item)
        key = group.tracking_uid or f"#{place}"
        found[key] = _together(found[key], group) if key in found else group
    return tuple(found.values())


def observer_of(ds: Dataset) -> str:
    """Return the name of the person who observed; empty where it says nothing."""
    names = (text(i, "PersonName") for i in _below(ds) if _is(i, _OBSERVER))
    name = next(names, "")
    return "" if name.strip("^").casefold() in {"", "unknown^unknown"} else name


def changed(ours: tuple[Measurement, ...], theirs: tuple[Measurement, ...]) -> list[Measurement]:
    """Return what they measured otherwise: the same quantity, the same unit, another value."""
    mine = {(_key(m.name), m.unit.value): m.value for m in ours}
    return [
        measured
        for measured in theirs
        if (before := mine.get((_key(measured.name), measured.unit.value))) is not None
        and abs(measured.value - before) > _TOLERANCE * abs(before)
    ]


def _close(points: tuple[float, ...], others: tuple[float, ...]) -> bool:
    return all(abs(a - b) <= _SAME_POINT for a, b in zip(points, others, strict=True))


def _group(item: Dataset) -> Group:
    below = list(_below(item))
    uids = [text(child, "UID") for child in below if _is(child, _TRACKING_UID)]
    codes = [_code(child, "ConceptCodeSequence") for child in below if _is(child, _FINDING)]
    outlines = tuple(outline for child in below if (outline := _outline(child)))
    return Group(
        tracking_uid=next(iter(uids), ""),
        finding=next(iter(codes), None),
        measurements=tuple(m for child in below if (m := _measurement(child))),
        outlines=outlines,
        image_uids=frozenset(
            text(reference, "ReferencedSOPInstanceUID")
            for child in below
            for reference in items(child, "ReferencedSOPSequence")
        ),
    )


def _together(group: Group, other: Group) -> Group:
    return Group(
        tracking_uid=group.tracking_uid,
        finding=group.finding or other.finding,
        measurements=group.measurements + other.measurements,
        outlines=group.outlines + other.outlines,
        image_uids=group.image_uids | other.image_uids,
    )


def _measurement(item: Dataset) -> Measurement | None:
    name = _code(item, "ConceptNameCodeSequence")
    for value in items(item, "MeasuredValueSequence"):
        figure, unit = number(value, "NumericValue"), _code(value, "MeasurementUnitsCodeSequence")
        if name and unit and figure is not None:
            return Measurement(name=name, value=figure, unit=Unit(unit.value, unit.meaning))
    return None


def _outline(item: Dataset) -> Outline | None:
    points, kind = vector(item, "GraphicData"), text(item, "GraphicType")
    images = [r for child in _below(item) for r in items(child, "ReferencedSOPSequence")]
    if text(item, "ValueType") != "SCOORD" or not points or not images:
        return None
    uid = text(images[0], "ReferencedSOPInstanceUID")
    return Outline(image_uid=uid, graphic_type=kind, points=points)


def _below(item: Dataset) -> Iterator[Dataset]:
    """Yield every content item below another, in order; receipt has bounded how deep they go."""
    for child in items(item, "ContentSequence"):
        yield child
        yield from _below(child)


def _is(item: Dataset, name: tuple[str, str]) -> bool:
    code = _code(item, "ConceptNameCodeSequence")
    return code is not None and _key(code) == name


def _code(item: Dataset, keyword: str) -> Code | None:
    for code in items(item, keyword):
        value = text(code, "CodeValue") or text(code, "LongCodeValue")
        return Code(value, text(code, "CodingSchemeDesignator"), text(code, "CodeMeaning"))
    return None


def _key(code: Code) -> tuple[str, str]:
    return code.value, code.scheme
