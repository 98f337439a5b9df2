"""Whether a step fits the keys of a search (PS3.4 C.2.2.2, table CC.2.5-3 column matching)."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

from imaging.dicom_json import JsonDataset, hex_tag
from imaging.errors import InputError
from serving.ups.dataset import values
from serving.ups.rules import ACCESSION, PATIENT, REQUEST, STATE, STUDY
from serving.ups.step import Narrowed, Step

_OFFSET = "[+-](?:0[0-9]|1[0-4])[0-5][0-9]"
_MOMENT = re.compile(rf"(\d{{4}}(?:\d\d){{0,5}})(\.\d{{1,6}})?({_OFFSET})?")
_SIDE = rf"[\d.]*(?:{_OFFSET})?"
_RANGE = re.compile(rf"(?P<low>{_SIDE}?)(?:-(?P<high>{_SIDE}))?")
_YEAR = 4
_FIRST, _LAST = "00000101000000", "99991231235959"
_REQUESTED = (STUDY, ACCESSION, "00401001", "00321060")  # found in what a step answers, too


class Keys:
    """The keys of a search: attributes by keyword, sequences first, and what they must be."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = [
            (_path(name), value) for name, value in keys.items() if value not in {"", "*"}
        ]
        for path, value in self._keys:
            if _vr(path) in {"DA", "DT"}:
                _span(value)

    @property
    def narrowed(self) -> Narrowed:
        """What of the keys the database can look for."""
        exact = {path[0]: value for path, value in self._keys if len(path) == 1}
        patient = exact.get(PATIENT, "")
        return Narrowed(
            states=_choices(exact.get(STATE, "")),
            study_uids=_choices(exact.get(STUDY, "")),
            patient_id="" if set(patient) & set("*?") else patient,
        )

    def fit(self, step: Step) -> bool:
        """Whether a step fits all keys."""
        return all(_fits(step.content, path, value) for path, value in self._keys)


def _path(name: str) -> tuple[str, ...]:
    found = [tag_for_keyword(part) for part in name.split(".")]
    tags = [hex_tag(t) if t else part for t, part in zip(found, name.split("."), strict=True)]
    return tuple(tags)


def _fits(ds: JsonDataset, path: Sequence[str], value: str) -> bool:
    found = list(values(ds, *path))
    if len(path) == 1 and path[0] in _REQUESTED:
        found += values(ds, REQUEST, path[0])
    vr = _vr(path)
    if vr == "SQ":
        msg = f"{'.'.join(path)} is a sequence: name an attribute in it"
        raise InputError(msg)
    if vr in {"DA", "DT"}:
        return any(_within(str(each), value) for each in found)
    if vr in {"UI", "CS"}:
        return any(_like(str(each), one) for each in found for one in _choices(value))
    if vr == "PN":
        words = [text for each in found if isinstance(each, dict) for text in each.values()]
        return any(_like(text.casefold(), value.casefold()) for text in words)
    return any(_like(str(each), value) for each in found)


def _like(text: str, value: str) -> bool:
    pattern = re.escape(value).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(pattern, text, re.DOTALL) is not None


def _choices(value: str) -> list[str]:
    return [each for each in re.split(r"[,\\]", value) if each]


def _vr(path: Sequence[str]) -> str:
    try:
        return dictionary_VR(int(path[-1], 16))
    except KeyError:
        return "UN"


def _within(text: str, value: str) -> bool:
    try:
        moment = _moment(text, _FIRST)
    except InputError:
        return False
    low, high = _span(value)
    return low <= moment <= high


def _span(value: str) -> tuple[datetime, datetime]:
    """Return the first and last moment of a value or a range."""
    found = _RANGE.fullmatch(value)
    if found is None or value == "-":
        msg = f"{value[:64]!r} is neither a moment nor a range of them"
        raise InputError(msg)
    low, high = found["low"], found["high"]
    if high is None:
        return _moment(low, _FIRST), _moment(low, _LAST)
    return _moment(low or "0001", _FIRST), _moment(high or "9999", _LAST)


def _moment(text: str, padding: str) -> datetime:
    """Return a DA or DT; what it leaves out is that of `padding`. Without an offset it is UTC."""
    found = _MOMENT.fullmatch(text)
    digits = found[1] if found else "none"
    padded = digits + padding[len(digits) :]
    if padding is _LAST:
        padded = _end_of_month(digits) or padded
    try:
        moment = datetime.strptime(padded, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        return moment + _rest(found, padding)
    except (ValueError, OverflowError) as error:
        msg = f"{text[:64]!r} is not a moment"
        raise InputError(msg) from error


def _rest(found: Any, padding: str) -> timedelta:
    offset = found[3] or "+0000"
    minutes = int(offset[1:3]) * 60 + int(offset[3:])
    fraction = float(found[2] or (".999999" if padding is _LAST else "0"))
    return timedelta(seconds=fraction, minutes=-minutes if offset[0] == "+" else minutes)


def _end_of_month(digits: str) -> str | None:
    """Return the last second of the month that is all that is given."""
    if len(digits) != _YEAR + 2 or not "01" <= digits[_YEAR:] <= "12":
        return None
    year, month = int(digits[:_YEAR]), int(digits[_YEAR:])
    following = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    return (following - timedelta(seconds=1)).strftime("%Y%m%d%H%M%S")
