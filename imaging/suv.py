"""From PET activity to the standardised uptake value by body weight (PS3.3 C.8.9.1, C.8.9.2).

SUV = activity in Bq/ml x weight in g / dose in Bq, the dose decayed to the moment that the image is
corrected to (QIBA FDG-PET profile, vendor-neutral pseudo-code). Only a header that leaves nothing
to guess gives a factor.
"""

import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydicom import Dataset

from imaging.attributes import Attributes, items, number, text, texts
from imaging.private import Private, private_numbers, private_values
from imaging.real_world import ACTIVITY, COUNTS, SUV_BY_WEIGHT, unit_of
from imaging.reasons import Reason, reason

_CORRECTIONS = frozenset(("ATTN", "DECY"))
_WEIGHTS_KG = (0.2, 400.0)
_GRAMS_PER_KG = 1000.0
_LONGEST_UPTAKE = timedelta(days=1)
_DATE_DIGITS, _SECOND_DIGITS = 8, 14
_PHILIPS_SUV = Private(0x7053, "Philips PET Private Group", 0x00, "DS")
_PHILIPS_ACTIVITY = Private(0x7053, "Philips PET Private Group", 0x09, "DS")
_GE_SCAN_START = Private(0x0009, "GEMS_PETD_01", 0x0D, "DT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Uptake:
    """SUV by body weight, in g/ml, is `per_unit` times a value in `unit`."""

    per_unit: float
    unit: str


def uptake_of(ds: Dataset) -> Uptake | Reason:
    """Return the SUV factor of a PET instance, or what its header lacks."""
    unit = unit_of(ds) or (ACTIVITY if not text(ds, "Units") else "")  # enhanced PET maps to it
    if unit == SUV_BY_WEIGHT:
        return Uptake(per_unit=1.0, unit=unit)
    scale = 1.0
    if unit == COUNTS:
        if known := _factor(ds, _PHILIPS_SUV):
            return Uptake(per_unit=known, unit=unit)
        scale = _factor(ds, _PHILIPS_ACTIVITY)
    weight = number(ds, "PatientWeight") or 0.0
    dose = _dose(ds)
    for given, what in (
        (unit == ACTIVITY or (unit == COUNTS and scale), "Units BQML"),
        (_is_corrected(ds), "CorrectedImage ATTN, DECY"),
        (_WEIGHTS_KG[0] <= weight <= _WEIGHTS_KG[1], "PatientWeight"),
    ):
        if not given:
            return reason("NO_SUV_FACTOR", lacking=what)
    if isinstance(dose, Reason):
        return dose
    return Uptake(per_unit=scale * weight * _GRAMS_PER_KG / dose, unit=unit)


def _is_corrected(ds: Attributes) -> bool:
    enhanced = (text(ds, f"{what}Corrected") == "YES" for what in ("Attenuation", "Decay"))
    return _CORRECTIONS.issubset(texts(ds, "CorrectedImage")) or all(enhanced)


def _factor(ds: Dataset, where: Private) -> float:
    """Return a factor that a scanner keeps in a private element, or zero."""
    found = private_numbers(ds, where)
    return found[0] if found and found[0] > 0 else 0.0


def _dose(ds: Dataset) -> float | Reason:
    """Return the dose in Bq at the moment that the image is decay corrected to."""
    isotope = items(ds, "RadiopharmaceuticalInformationSequence")
    if len(isotope) != 1:
        return reason("NO_SUV_FACTOR", lacking="RadiopharmaceuticalInformationSequence")
    dose = number(isotope[0], "RadionuclideTotalDose") or 0.0
    half_life = number(isotope[0], "RadionuclideHalfLife") or 0.0
    enhanced = _moment(text(ds, "DecayCorrectionDateTime"))
    administered = text(ds, "DecayCorrection") == "ADMIN"
    for given, what in (
        (dose > 0, "RadionuclideTotalDose"),
        (text(ds, "DecayCorrection") in {"ADMIN", "START"} or enhanced, "DecayCorrection"),
        (administered or half_life > 0, "RadionuclideHalfLife"),
    ):
        if not given:
            return reason("NO_SUV_FACTOR", lacking=what)
    if administered:
        return dose
    waited = _waited(isotope[0], enhanced or _scan_start(ds, half_life))
    if waited is None:
        return reason("NO_SUV_FACTOR", lacking="SeriesTime, RadiopharmaceuticalStartDateTime")
    return dose * math.exp2(-waited.total_seconds() / half_life)


def _scan_start(ds: Dataset, half_life: float) -> datetime | None:
    """Return when the scan started, to which DecayCorrection START corrects.

    That is the series time, unless it was set anew when the images were made later: then it lies
    after the acquisition. GE keeps the start apart; else the frame's own times lead back to it.
    """
    start = _moment(text(ds, "SeriesDate") + text(ds, "SeriesTime"))
    acquired = _moment(text(ds, "AcquisitionDate") + text(ds, "AcquisitionTime"))
    if start is None or acquired is None:
        return None
    if start <= acquired:
        return start
    kept = _moment("".join(map(str, private_values(ds, _GE_SCAN_START))))
    return kept if kept and kept <= acquired else _by_frame(ds, acquired, half_life)


def _by_frame(ds: Attributes, acquired: datetime, half_life: float) -> datetime | None:
    """Return the start by Frame Reference Time: from it to when the frame decays at its mean."""
    reference, duration = number(ds, "FrameReferenceTime"), number(ds, "ActualFrameDuration")
    if not (reference and duration) or reference < 0 or duration < 0:
        return None
    decay = math.log(2) * duration / 1000 / half_life
    mean_s = math.log(decay / -math.expm1(-decay)) * half_life / math.log(2)
    return acquired + timedelta(seconds=mean_s - reference / 1000)


def _waited(isotope: Attributes, start: datetime | None) -> timedelta | None:
    """Return the time from injection to `start`."""
    injected = _moment(text(isotope, "RadiopharmaceuticalStartDateTime"))
    if injected is None and start is not None:
        clock = text(isotope, "RadiopharmaceuticalStartTime")
        injected = _moment(f"{start:%Y%m%d}{clock}") if clock else None
        if injected is not None and injected > start:
            injected -= timedelta(days=1)  # injected before midnight
    if start is None or injected is None:
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
