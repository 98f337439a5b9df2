"""What is left of a value when it is de-identified, by its value representation (PS3.5 6.2)."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from functools import cache
from typing import Any, cast

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_has_tag
from pydicom.multival import MultiValue
from pydicom.sr._concepts_dict import concepts
from pydicom.tag import Tag
from pydicom.uid import UID

from imaging.attributes import UNCONVERTIBLE
from imaging.codes import Code
from imaging.harmless_words import all_harmless, kept_words

_TEXTS = frozenset(("LO", "SH", "ST", "LT", "UT", "UC"))
_MOMENTS = frozenset(("DA", "DT", "TM"))
_INTEGERS = frozenset(("US", "SS", "UL", "SL", "UV", "SV"))
_NUMBERS = _INTEGERS | {"IS", "DS", "FL", "FD"}
_LARGEST = (
    1_000_000  # a whole number as long as an ID, a date or a telephone number is none of ours
)
_LEAST_ID = 4
_TWO_LETTERS = 0x2020  # the least that two printable characters make as one number
_TERMS = re.compile(r"\d{1,2}|ISO_\d{5}(_\d)?|")
_AGE, _OLDEST = re.compile(r"(\d{3})([DWMY])"), 89
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d)?([0-6]\d(\.\d{1,6})?)?")
_MOMENT = re.compile(r"(\d{8})(\d{2,6}(?:\.\d{1,6})?)?([+-]\d{4})?")
_SEX = re.compile(r"[MFO]")
_IMAGE_TYPE, _PATIENT_SEX = Tag("ImageType"), Tag("PatientSex")
_DUMMIES = {
    "PN": "REMOVED", "LO": "REMOVED", "SH": "REMOVED", "ST": "REMOVED", "LT": "REMOVED",
    "UT": "REMOVED", "UC": "REMOVED", "CS": "OTHER", "AE": "REMOVED", "AS": "000Y",
    "DA": "19000101", "DT": "19000101", "TM": "000000", "IS": "0", "DS": "0",
}  # fmt: skip


def cleaned(
    element: DataElement, *, uid: Callable[[str], str], shift_days: int, forbidden: frozenset[str]
) -> DataElement | None:
    """Return an element with what is harmless of its value; ``None`` when nothing is."""
    try:
        values = _values(element.value)
        kept = _kept(element, values, uid=uid, shift_days=shift_days, forbidden=forbidden)
    except UNCONVERTIBLE:
        return None
    if kept is None or (values and not any(str(value) for value in kept)):
        return None
    return DataElement(element.tag, element.VR, kept[0] if len(kept) == 1 else kept)


def dummy(element: DataElement) -> DataElement | None:
    """Return an element with a value that says nothing; ``None`` where no such value is known."""
    value = _DUMMIES.get(element.VR)
    return None if value is None else DataElement(element.tag, element.VR, value)


def code_item(item: Dataset, codes: Mapping[tuple[str, str], Code]) -> Dataset | None:
    """Return a code in the words of its own dictionary; ``None`` when it is not a known code."""
    value = str(item.get("CodeValue") or item.get("LongCodeValue") or "")
    key = (str(item.get("CodingSchemeDesignator") or ""), value)
    meaning = codes[key].meaning if key in codes else _standard_codes().get(key)
    if meaning is None:
        return None
    clean = Dataset()
    clean.CodeValue, clean.CodingSchemeDesignator, clean.CodeMeaning = value, key[0], meaning[:64]
    return clean


@cache
def _standard_codes() -> Mapping[tuple[str, str], str]:
    """Return the meaning of every code in the context groups of PS3.16."""
    known: Mapping[str, Mapping[str, Mapping[str, tuple[str, Any]]]] = cast("Any", concepts)
    return {
        (scheme, value): meaning
        for scheme, terms in known.items()
        for by_value in terms.values()
        for value, (meaning, *_) in by_value.items()
    }


def _kept(
    element: DataElement,
    values: list[Any],
    *,
    uid: Callable[[str], str],
    shift_days: int,
    forbidden: frozenset[str],
) -> list[Any] | None:
    vr = element.VR
    if vr == "CS":
        return _terms(element.tag, [str(v) for v in values])
    if vr in _NUMBERS:
        small = all(_is_small(v, vr, len(values)) for v in values)
        return values if small and not _identifying(values, forbidden) else None
    if vr == "AT":
        return values if all(dictionary_has_tag(value) for value in values) else None
    one = _one(vr, uid=uid, shift_days=shift_days, forbidden=forbidden)
    return None if one is None else [one(str(value)) for value in values]


def _one(
    vr: str, *, uid: Callable[[str], str], shift_days: int, forbidden: frozenset[str]
) -> Callable[[str], str] | None:
    """Return what cleans a single value; ``None`` where nothing can."""
    if vr == "UI":
        return lambda value: value if _is_registered(value) else uid(value)
    if vr in _TEXTS:
        return lambda value: kept_words(value, forbidden)
    if vr in _MOMENTS:
        return lambda value: _moved(value, vr, shift_days)
    return _age if vr == "AS" else None


def _is_registered(value: str) -> bool:
    """Whether a UID is one of the standard's own: its name differs from itself (PS3.6 annex A)."""
    return UID(value).name != value


def _values(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, MultiValue | list | tuple) else [value]


def _terms(tag: int, values: list[str]) -> list[str] | None:
    if tag == _PATIENT_SEX:
        return values if len(values) == 1 and _SEX.fullmatch(values[0]) else None
    if all(_is_term(value) for value in values):
        return values
    if tag == _IMAGE_TYPE:
        return [value if _is_term(value) else "OTHER" for value in values]
    return None


def _is_term(value: str) -> bool:
    return _TERMS.fullmatch(value) is not None or all_harmless(value)


def _moved(value: str, vr: str, days: int) -> str:
    """Return a moment that many days earlier, its time of day kept; "" when it is none."""
    if vr == "TM":
        return value if _TIME.fullmatch(value) else ""
    found = _MOMENT.fullmatch(value)
    if found is None or (vr == "DA" and (found[2] or found[3])):
        return ""
    if found[2] and not _TIME.fullmatch(found[2]):
        return ""
    year, month, day = int(value[:4]), int(value[4:6]), int(value[6:8])
    moved = date(year, month, day) - timedelta(days=days)
    return f"{moved:%Y%m%d}".rjust(8, "0") + (found[2] or "")


def _is_small(value: Any, vr: str, count: int) -> bool:
    number = abs(float(value))
    if number >= _LARGEST or number != number:  # noqa: PLR0124 - not a number
        return False
    return count == 1 or vr not in _INTEGERS or number < _TWO_LETTERS


def _identifying(values: list[Any], forbidden: frozenset[str]) -> bool:
    """Whether a number is the patient's ID, or a part of it: short ones are so by chance."""
    digits = {re.sub(r"\.0*$", "", str(value).strip()) for value in values}
    return any(len(each) >= _LEAST_ID and each in forbidden for each in digits)


def _age(value: str) -> str:
    """Return an age; 90 years stand for all that is older, because so few people are."""
    found = _AGE.fullmatch(value)
    if found is None:
        return ""
    return "090Y" if found[2] == "Y" and int(found[1]) > _OLDEST else value


def words_of(texts: Iterable[str]) -> frozenset[str]:
    """Return every word of some texts in capitals: what no free text may keep."""
    return frozenset(word for text in texts for word in re.split(r"[\W_]+", text.upper()) if word)
