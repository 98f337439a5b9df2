"""Tolerant reading of attribute values by keyword.

A value that is absent, empty or not parseable is ``None`` (or an empty string or tuple); whether
that matters is for the caller to decide.
"""

import math
from typing import Any, Protocol

from pydicom import Dataset, Sequence
from pydicom.multival import MultiValue

from imaging.text import texts_of

Vector = tuple[float, ...]


class Attributes(Protocol):
    """What values are read from: a data set, or one frame of it made to look like one."""

    def get(self, keyword: str, /) -> Any:
        """Return the value of an attribute, ``None`` when there is none."""


def value_of(ds: Attributes, keyword: str) -> Any:
    """Return the value as pydicom gives it."""
    try:
        return ds.get(keyword)
    except (ValueError, TypeError, KeyError, NotImplementedError, AttributeError, OverflowError):
        return None  # the value cannot be converted: the same as absent


def items(ds: Attributes, keyword: str) -> tuple[Dataset, ...]:
    """Return the items of a sequence."""
    value = value_of(ds, keyword)
    return tuple(value) if isinstance(value, Sequence) else ()


def texts(ds: Attributes, keyword: str) -> tuple[str, ...]:
    """Return every value as text, without padding; names and descriptions in any script."""
    if isinstance(ds, Dataset) and (found := texts_of(ds, keyword)) is not None:
        return found
    value = value_of(ds, keyword)
    if value is None:
        return ()
    values = value if isinstance(value, (list, tuple, MultiValue)) else [value]
    return tuple(str(v).strip(" \0") for v in values)


def text(ds: Attributes, keyword: str) -> str:
    """Return the values as one text, as they are written in DICOM."""
    return "\\".join(texts(ds, keyword))


def vector(ds: Attributes, keyword: str, length: int | None = None) -> Vector | None:
    """Return the values as finite numbers, `length` of them if that is given."""
    return numbers(texts(ds, keyword), length)


def numbers(values: tuple[object, ...], length: int | None = None) -> Vector | None:
    """Return `values` as finite numbers, `length` of them if that is given."""
    try:
        found = tuple(float(str(value)) for value in values)
    except ValueError:
        return None
    if not found or not all(map(math.isfinite, found)):
        return None
    return found if length in {None, len(found)} else None


def number(ds: Attributes, keyword: str) -> float | None:
    """Return the first value as a finite number."""
    found = vector(ds, keyword)
    return found[0] if found else None


def integer(ds: Attributes, keyword: str) -> int | None:
    """Return the first value if it is a whole number."""
    found = number(ds, keyword)
    return int(found) if found is not None and found == int(found) else None
