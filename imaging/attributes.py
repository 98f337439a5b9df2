"""Tolerant reading of attribute values by keyword.

A value that is absent, empty or not parseable is ``None`` (or an empty string or tuple); whether
that matters is for the caller to decide.
"""

import math
import re
from functools import cache
from typing import Any, Literal, Protocol

from pydicom import DataElement, Dataset, Sequence
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from imaging.text import texts_of

Vector = tuple[float, ...]

# What pydicom raises where a value cannot be converted.
UNCONVERTIBLE = (
    ValueError,
    TypeError,
    KeyError,
    NotImplementedError,
    AttributeError,
    OverflowError,
    BytesLengthException,
)
# Texts that are ASCII in any character set.
_PLAIN = frozenset(("AE", "AS", "CS", "DA", "DS", "DT", "TM", "UI"))
_INTEGER = re.compile(rb"[+-]?[0-9]{1,12} ?")  # what else IS may hold, pydicom judges
_PRINTABLE = re.compile(rb"[ -~\0]*")
_PADDING = " \0"
_SHORT = 2  # bytes


class Attributes(Protocol):
    """What values are read from: a data set, or one frame of it made to look like one."""

    def get(self, keyword: str, /) -> Any:
        """Return the value of an attribute, ``None`` when there is none."""


@cache
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)


@cache
def _dictionary_vr(tag: BaseTag) -> str:
    return str(dictionary_VR(tag))


def value_of(ds: Attributes, keyword: str) -> Any:
    """Return the value as pydicom gives it."""
    if isinstance(ds, Dataset) and _tag(keyword) not in ds.keys():  # noqa: SIM118 - much faster
        return None
    try:
        return ds.get(keyword)
    except UNCONVERTIBLE:
        return None  # the value cannot be converted: the same as absent


def items(ds: Attributes, keyword: str) -> tuple[Dataset, ...]:
    """Return the items of a sequence."""
    value = value_of(ds, keyword)
    return tuple(value) if isinstance(value, Sequence) else ()


def texts(ds: Attributes, keyword: str) -> tuple[str, ...]:
    """Return every value as text, without padding; names and descriptions in any script."""
    if isinstance(ds, Dataset):
        if _tag(keyword) not in ds.keys():  # noqa: SIM118 - much faster
            return ()
        if (found := _plain_texts(ds, keyword)) is not None:
            return found
        if (found := texts_of(ds, keyword)) is not None:
            return found
    value = value_of(ds, keyword)
    if value is None:
        return ()
    values = value if isinstance(value, (list, tuple, MultiValue)) else [value]
    return tuple(str(v).strip(_PADDING) for v in values)


def _plain_texts(ds: Dataset, keyword: str) -> tuple[str, ...] | None:
    """Return values straight from their bytes: the same as pydicom's, at a tenth of the time.

    ``None`` when they are not such bytes, or have been converted already.
    """
    tag = _tag(keyword)
    element: DataElement | RawDataElement | None = ds.get_item(tag)
    if not isinstance(element, RawDataElement) or not isinstance(element.value, bytes):
        return None
    vr = element.VR or _dictionary_vr(tag)
    if vr == "US" and len(element.value) == _SHORT:
        order: Literal["little", "big"] = "little" if element.is_little_endian else "big"
        return (str(int.from_bytes(element.value, order)),)
    plain = vr in _PLAIN or (vr == "IS" and _INTEGER.fullmatch(element.value))
    if not (plain and _PRINTABLE.fullmatch(element.value)):
        return None
    return tuple(v.strip(_PADDING) for v in element.value.decode("ascii").split("\\"))


def text(ds: Attributes, keyword: str) -> str:
    """Return the values as one text, as they are written in DICOM."""
    return "\\".join(texts(ds, keyword))


def vector(ds: Attributes, keyword: str, length: int | None = None) -> Vector | None:
    """Return the values as finite numbers, `length` of them if that is given."""
    return numbers(texts(ds, keyword), length)


def numbers(values: tuple[object, ...], length: int | None = None) -> Vector | None:
    """Return `values` as finite numbers, `length` of them if that is given."""
    if not values:
        return None
    try:
        found = tuple(float(str(value)) for value in values)
    except ValueError:
        return None
    if not all(map(math.isfinite, found)):
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
