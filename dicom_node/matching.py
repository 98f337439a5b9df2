"""Attribute matching of queries (PS3.4 C.2.2.2) as conditions of SQL."""

import re
from collections.abc import Sequence
from enum import Enum

import sqlalchemy as sa

from dicom_node.names import name_key, words_of
from imaging.errors import InputError

Column = sa.ColumnElement[str]
Condition = sa.ColumnElement[bool]

_ESCAPE = "!"
_DATE = re.compile(r"\d{8}")
_TIME = re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?")
_LATEST = "235959.999999"
_UID = re.compile(r"[0-9.]{1,64}")
_MANY = re.compile(r"[,\\]")


class Kind(Enum):
    """How the values of an attribute are matched."""

    TEXT = "text"  # single value or wildcard
    CODE = "code"  # the same, or several of them
    NAME = "name"  # person name, by component groups
    UID = "uid"  # single value or list
    DATE = "date"  # single value or range
    TIME = "time"  # single value or range
    NUMBER = "number"  # single value


def is_universal(value: str) -> bool:
    """Whether a value matches everything (PS3.4 C.2.2.2.3)."""
    return not value.strip("*")


def condition(column: Column, kind: Kind, value: str, *, fuzzy: bool = False) -> Condition:
    """Return the condition that a value which is not universal puts on a column.

    For `Kind.NAME` the column is a name key, or with `fuzzy` the words of names (`names`).

    Raises
    ------
    InputError
        The value cannot be one of this kind.
    """
    match kind:
        case Kind.UID:
            return column.in_(_uids(value))
        case Kind.DATE | Kind.TIME:
            return _between(column, bounds(kind, value))
        case Kind.NUMBER:
            return column == _whole(value)
        case Kind.NAME:
            return _words(column, value) if fuzzy else _name(column, value)
        case Kind.CODE | Kind.TEXT:
            values = _MANY.split(value) if kind is Kind.CODE else [value]
            return sa.or_(*(_text(column, each.strip()) for each in values))


def bounds(kind: Kind, value: str) -> tuple[str, str]:
    """Return the lowest and highest value of a date or time, or of a range of them."""
    low, dash, high = value.partition("-")
    pattern = _DATE if kind is Kind.DATE else _TIME
    parts = (low, high) if dash else (low, low)
    if not any(parts) or any(part and not pattern.fullmatch(part) for part in parts):
        msg = f"{value!r} is not a {kind.value} or a range of them"
        raise InputError(msg)
    return parts[0], _filled(parts[1]) if kind is Kind.TIME else parts[1]


def combined(
    columns: tuple[Column, Column], dates: tuple[str, str], times: tuple[str, str]
) -> Condition:
    """Return the condition of a range of dates and one of times, taken as one span of time."""
    date, time = columns
    (first, last), (start, end) = dates, times
    found = [_between(date, dates)]
    if first and start:
        found.append(sa.or_(date > first, time >= start))
    if last and end:
        found.append(sa.or_(date < last, time <= end))
    return sa.and_(*found)


def like(value: str) -> str:
    """Return the pattern of SQL for wildcards ``*`` and ``?`` (PS3.4 C.2.2.2.4)."""
    escaped = re.sub(r"[!%_]", lambda found: _ESCAPE + found[0], value)
    return escaped.replace("*", "%").replace("?", "_")


def _filled(time: str) -> str:
    """Return the last moment that a time of lower precision includes."""
    return time + _LATEST[len(time) :] if time else ""


def _between(column: Column, limits: tuple[str, str]) -> Condition:
    low, high = limits
    found: list[Condition] = [column >= low if low else column != ""]
    if high:
        found.append(column <= high)
    return sa.and_(*found)


def _text(column: Column, value: str) -> Condition:
    if "*" in value or "?" in value:
        return column.ilike(like(value), escape=_ESCAPE)
    return column == value


def _uids(value: str) -> Sequence[str]:
    found = [uid.strip() for uid in _MANY.split(value) if uid.strip()]
    wrong = [uid for uid in found if not _UID.fullmatch(uid)]
    if wrong or not found:
        msg = f"{(wrong or [value])[0][:64]!r} is not a UID"
        raise InputError(msg)
    return found


def _whole(value: str) -> int:
    try:
        return int(value)
    except ValueError as error:
        msg = f"{value!r} is not a whole number"
        raise InputError(msg) from error


def _name(column: Column, value: str) -> Condition:
    """Match one component group, or those that the value names, without regard to case."""
    key = name_key(value)
    if "=" in key:
        return column.ilike(like(key), escape=_ESCAPE)
    pattern = like(key)
    patterns = (pattern, f"{pattern}=%", f"%={pattern}", f"%={pattern}=%")
    return sa.or_(*(column.ilike(each, escape=_ESCAPE) for each in patterns))


def _words(column: Column, value: str) -> Condition:
    """Match names with, for each word of the value, a word that begins like it."""
    words = words_of(value.replace("*", " ").replace("?", " "))
    found = [column.like(f"% {like(word)}%", escape=_ESCAPE) for word in words]
    return sa.and_(sa.true(), *found)
