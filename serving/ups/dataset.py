"""Data sets in DICOM JSON as other systems send them: checked, and read by tag."""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from pydicom.datadict import dictionary_VR

from imaging.dicom_json import JsonDataset, JsonElement
from imaging.errors import InputError
from imaging.identity import is_uid

_TAG = re.compile("[0-9A-F]{8}")
_DATE_TIME = re.compile(r"\d{4}(\d\d){0,5}(\.\d{1,6})?([+-]\d{4})?")
_DEEPEST = 16
_SHORT = 16  # characters of a Code Value; others are a Long Code Value
_MEMBERS = {"vr", "Value", "InlineBinary", "BulkDataURI"}
_NUMBERS = frozenset(("DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"))


def parsed(body: bytes) -> JsonDataset:
    """Return the one data set of a body, which may be in a list.

    Raises
    ------
    InputError
        It is not one data set of DICOM JSON (PS3.18 annex F).
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        msg = "the body is not JSON"
        raise InputError(msg) from error
    found = found[0] if isinstance(found, list) and len(found) == 1 else found
    _check(found, _DEEPEST)
    assert isinstance(found, dict)
    return found


def values(ds: JsonDataset, *path: str) -> Iterator[Any]:
    """Yield the values at a path of tags, of every item on the way."""
    found = (ds.get(path[0]) or {}).get("Value") or ()
    for each in found:
        if len(path) == 1:
            yield each
        elif isinstance(each, dict):
            yield from values(each, *path[1:])


def first(ds: JsonDataset, *path: str) -> str:
    """Return the first value at a path as text, else ``""``."""
    return str(next((each for each in values(ds, *path) if each is not None), ""))


def date_time(at: float) -> str:
    """Return a moment as a DT."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%d%H%M%S.%f+0000")


def _check(ds: object, depth: int) -> None:
    if not isinstance(ds, dict) or not depth:
        msg = "a data set must be one object of DICOM JSON, not nested too deep"
        raise InputError(msg)
    for tag, element in ds.items():
        if not _TAG.fullmatch(tag):
            msg = f"{tag[:32]!r} is not a tag: eight upper-case hexadecimal digits"
            raise InputError(msg)
        if not isinstance(element, dict) or not element.keys() <= _MEMBERS:
            msg = f"{tag} is not an element of DICOM JSON"
            raise InputError(msg)
        _check_element(tag, element, depth)


def _check_element(tag: str, element: JsonElement, depth: int) -> None:
    vr, found = element.get("vr"), element.get("Value", [])
    known = _vr(tag)
    if not isinstance(vr, str) or (known and " " not in known and vr != known):
        msg = f"{tag}: the value representation is {known}" if known else f"{tag} has no vr"
        raise InputError(msg)
    if not isinstance(found, list):
        msg = f"{tag}: Value must be a list"
        raise InputError(msg)
    for value in found:
        if vr == "SQ":
            _check(value, depth - 1)
        elif value is not None:
            _check_value(tag, vr, value)


def _check_value(tag: str, vr: str, value: object) -> None:
    if not _fits(vr, value):
        msg = f"{tag}: a value is not one of {vr}"
        raise InputError(msg)


def _fits(vr: str, value: object) -> bool:
    if vr == "PN":
        return isinstance(value, dict) and all(isinstance(part, str) for part in value.values())
    if vr in _NUMBERS:
        return isinstance(value, (int, float, str)) and not isinstance(value, bool)
    if not isinstance(value, str) or "\0" in value:
        return False
    if vr == "UI":
        return is_uid(value)
    return vr != "DT" or _DATE_TIME.fullmatch(value) is not None


def _vr(tag: str) -> str:
    try:
        return dictionary_VR(int(tag, 16))
    except KeyError:
        return ""


def sequence(*items: JsonDataset) -> JsonElement:
    """Return a sequence of items."""
    return {"vr": "SQ", "Value": list(items)} if items else {"vr": "SQ"}


def one(vr: str, value: str | float) -> JsonElement:
    """Return an element of one value, or of none."""
    return {"vr": vr} if value == "" else {"vr": vr, "Value": [value]}


def code(value: str, scheme: str, meaning: str) -> JsonDataset:
    """Return a coded entry (PS3.3 8.8)."""
    short = len(value) <= _SHORT
    return {
        ("00080100" if short else "00080119"): one("SH" if short else "UC", value),
        "00080102": one("SH", scheme),
        "00080104": one("LO", meaning[:64]),
    }


def codes(ds: JsonDataset, *path: str) -> Sequence[tuple[str, str]]:
    """Return value and scheme of the codes at a path."""
    return [
        (first(item, "00080100") or first(item, "00080119"), first(item, "00080102"))
        for item in values(ds, *path)
        if isinstance(item, dict)
    ]
