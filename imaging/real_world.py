"""What values mean: the unit after the rescale, and real world value maps beside it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from imaging.attributes import Attributes, items, number, text

HOUNSFIELD, ACTIVITY, COUNTS, SUV_BY_WEIGHT = "[hnsf'U]", "Bq/ml", "{counts}", "{SUVbw}g/ml"
# Units (0054,1001) of PET, as UCUM; GML and CM2ML are SUV, of which SUV Type tells the kind.
_PET_UNITS: Mapping[str, str] = MappingProxyType(
    {
        "BQML": ACTIVITY,
        "CNTS": COUNTS,
        "CPS": "{counts}/s",
        "GML": SUV_BY_WEIGHT,
        "GML BW": SUV_BY_WEIGHT,
        "GML LBM": "{SUVlbm}g/ml",
        "GML LBMJAMES128": "{SUVlbm}g/ml",
        "GML LBMJANMA": "{SUVlbm(Janma)}g/ml",
        "GML IBW": "{SUVibw}g/ml",
        "CM2ML": "{SUVbsa}cm2/ml",
        "CM2ML BSA": "{SUVbsa}cm2/ml",
    }
)
_KINDS = ("", "DoubleFloat")


@dataclass(frozen=True, slots=True, kw_only=True)
class RealWorldMap:
    """A straight line from stored values `first` to `last`: slope * stored + intercept, in `unit`.

    `unit` is the code value, in UCUM as a rule (PS3.3 C.7.6.16.2.11).
    """

    slope: float
    intercept: float
    first: float
    last: float
    unit: str
    label: str


def unit_of(ds: Attributes) -> str:
    """Return the UCUM unit of an image's values after the rescale; "" where it is not told."""
    match text(ds, "Modality").upper():
        case "CT":
            return HOUNSFIELD if text(ds, "RescaleType").upper() in {"", "HU"} else ""
        case "PT":
            kind = f"{text(ds, 'Units')} {text(ds, 'SUVType')}".strip().upper()
            return _PET_UNITS.get(kind, "")
        case _:
            return ""


def real_world_maps(ds: Attributes) -> tuple[RealWorldMap, ...]:
    """Return the linear maps of an instance or of one frame; maps by table are left out."""
    return tuple(_maps(ds))


def _maps(ds: Attributes) -> Iterator[RealWorldMap]:
    for item in items(ds, "RealWorldValueMappingSequence"):
        slope, intercept = (number(item, f"RealWorldValue{x}") for x in ("Slope", "Intercept"))
        first, last = (_end(item, which) for which in ("First", "Last"))
        units = items(item, "MeasurementUnitsCodeSequence")
        if not slope or intercept is None or first is None or last is None or not units:
            continue
        yield RealWorldMap(
            slope=slope,
            intercept=intercept,
            first=min(first, last),
            last=max(first, last),
            unit=text(units[0], "CodeValue"),
            label=text(item, "LUTLabel"),
        )


def _end(item: Attributes, which: str) -> float | None:
    found = (number(item, f"{kind}RealWorldValue{which}ValueMapped") for kind in _KINDS)
    return next((value for value in found if value is not None), None)
