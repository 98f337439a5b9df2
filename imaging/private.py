"""Values of private elements, read only below their private creator (PS3.5 7.8)."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.multival import MultiValue

from imaging.attributes import UNCONVERTIBLE, Attributes, Vector, numbers

_BINARY = {"FL": "<f4", "FD": "<f8", "SS": "<i2", "US": "<u2"}
_TEXT = frozenset(("IS", "DS", "DT"))


@dataclass(frozen=True, slots=True)
class Private:
    """An element of a vendor: group, creator, offset in the creator's block, and its VR.

    The VR is the documented one: a PACS that passed the image on may have lost it.
    """

    group: int
    creator: str
    element: int
    vr: str


def private_values(ds: Attributes, where: Private) -> tuple[Any, ...]:
    """Return the values of a private element; none when it is not there."""
    if not isinstance(ds, Dataset) or ds.keys().isdisjoint(_creators(where.group)):
        return ()
    try:
        value = ds.private_block(where.group, where.creator)[where.element].value
        return _values(value, where.vr)
    except UNCONVERTIBLE:
        return ()


def private_numbers(ds: Attributes, where: Private) -> Vector:
    """Return the values of a private element as finite numbers; none unless all are."""
    return numbers(private_values(ds, where)) or ()


def _values(value: Any, vr: str) -> tuple[Any, ...]:
    if isinstance(value, bytes) and vr in _BINARY:
        return tuple(np.frombuffer(value, _BINARY[vr]).tolist())
    if isinstance(value, bytes) and vr in _TEXT:
        return tuple(value.decode("ascii", "replace").strip(" \0").split("\\"))
    return tuple(value) if isinstance(value, (list, MultiValue)) else (value,)


@cache
def _creators(group: int) -> frozenset[int]:
    """Return where the creators of a group's blocks may stand (PS3.5 7.8.1)."""
    return frozenset(range(group << 16 | 0x10, group << 16 | 0x100))
