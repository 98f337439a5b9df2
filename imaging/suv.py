"""From PET activity to the standardised uptake value by body weight (PS3.3 C.8.9.1, C.8.9.2).

SUV = activity in Bq/ml x weight in g / dose in Bq, the dose decayed to the moment that the image is
corrected to (QIBA FDG-PET profile, vendor-neutral pseudo-code). Only a header that leaves nothing
to guess gives a factor. It is offered, never applied: voxels stay in the units of the header.
"""

import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from imaging.attributes import Attributes, items, number, text, texts
from imaging.reasons import Reason, reason

_CORRECTIONS = frozenset(("ATTN", "DECY"))
_WEIGHTS_KG = (0.2, 400.0)
_GRAMS_PER_KG = 1000.0
_LONGEST_UPTAKE = timedelta(days=1)
_DATE_DIGITS, _SECOND_DIGITS = 8, 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Uptake:
    """SUV by body weight, in g/ml, is `per_unit` times the value after rescale."""

    per_unit: float


def uptake_of(ds: Attributes) -> Uptake | Reason:
    """Return the SUV factor of a PET instance, or what its header lacks."""
    if text(ds, "Units") == "GML" and text(ds, "SUVType") in {"", "BW"}:
        return Uptake(per_unit=1.0)
    weight = number(ds, "PatientWeight") or 0.0
    dose = _dose(ds)
    for given, what in (
        (text(ds, "Units") == "BQML", "Units BQML"),
        (_CORRECTIONS.issubset(texts(ds, "CorrectedImage")), "CorrectedImage ATTN, DECY"),
        (_WEIGHTS_KG[0] <= weight <= _WEIGHTS_KG[1], "PatientWeight"),
    ):
        if not given:
            return reason("NO_SUV_FACTOR", lacking=what)
    return dose if isinstance(dose, Reason) else Uptake(per_unit=weight * _GRAMS_PER_KG / dose)


def _dose(ds: Attributes) -> float | Reason:
    """Return the dose in Bq at the moment that the image is decay corrected to."""
    isotope = items(ds, "RadiopharmaceuticalInformationSequence")
    if len(isotope) != 1:
        return reason("NO_SUV_FACTOR", lacking="RadiopharmaceuticalInformationSequence")
    dose = number(isotope[0], "RadionuclideTotalDose") or 0.0
    half_life = number(isotope[0], "RadionuclideHalfLife") or 0.0
    administered = text(ds, "DecayCorrection") == "ADMIN"
    waited = timedelta() if administered else _waited(ds, isotope[0])
    for given, what in (
        (dose > 0, "RadionuclideTotalDose"),
        (text(ds, "DecayCorrection") in {"ADMIN", "START"}, "DecayCorrection"),
        (administered or half_life > 0, "RadionuclideHalfLife"),
    ):
        if not given:
            return reason("NO_SUV_FACTOR", lacking=what)
    if waited is None:
        return reason("NO_SUV_FACTOR", lacking="SeriesTime, RadiopharmaceuticalStartDateTime")
    return dose * math.exp2(-waited.total_seconds() / half_life) if waited else dose


def _waited(ds: Attributes, isotope: Attributes) -> timedelta | None:
    """Return the time from injection to the start of the scan.

    The scan starts at the series time, unless that was set anew when the images were reconstructed
    later: then it lies after the acquisition, and cannot be used.
    """
    start = _moment(text(ds, "SeriesDate") + text(ds, "SeriesTime"))
    acquired = _moment(text(ds, "AcquisitionDate") + text(ds, "AcquisitionTime"))
    injected = _moment(text(isotope, "RadiopharmaceuticalStartDateTime"))
    if injected is None and start is not None:
        clock = text(isotope, "RadiopharmaceuticalStartTime")
        injected = _moment(f"{start:%Y%m%d}{clock}") if clock else None
        if injected is not None and injected > start:
            injected -= timedelta(days=1)  # injected before midnight
    if start is None or acquired is None or injected is None or start > acquired:
        return None
    return start - injected if timedelta() <= start - injected < _LONGEST_UPTAKE else None


def _moment(written: str) -> datetime | None:
    digits = re.split(r"[.+-]", written)[0]
    if not _DATE_DIGITS < len(digits) <= _SECOND_DIGITS:
        return None
    try:
        return datetime.strptime(digits.ljust(_SECOND_DIGITS, "0"), "%Y%m%d%H%M%S")  # noqa: DTZ007
    except ValueError:
        return None
