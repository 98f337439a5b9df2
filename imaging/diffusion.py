"""Diffusion weighting of an MR image: the standard's attributes, else those of the vendors.

The private elements are those documented in the vendors' DICOM conformance statements; each is
read only below its private creator.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.multival import MultiValue

from imaging.attributes import UNCONVERTIBLE, Attributes, Vector, number, numbers, vector

_THREE = 3
# GE adds multiples of this to b values of merged acquisitions.
_GE_MARK = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Vendor:
    """Where one vendor writes b value and gradient, as element offsets in a private block."""

    creator: str
    group: int
    b_value: int | None = None
    gradient: tuple[int, ...] = ()


_VENDORS = (
    _Vendor(creator="SIEMENS MR HEADER", group=0x0019, b_value=0x0C, gradient=(0x0E,)),
    _Vendor(creator="Philips Imaging DD 001", group=0x2001, b_value=0x03),
    _Vendor(creator="Philips MR Imaging DD 001", group=0x2005, gradient=(0xB0, 0xB1, 0xB2)),
    _Vendor(creator="GEMS_PARM_01", group=0x0043, b_value=0x39),
    _Vendor(creator="GEMS_ACQU_01", group=0x0019, gradient=(0xBB, 0xBC, 0xBD)),
    _Vendor(creator="Image Private Header", group=0x0065, b_value=0x09, gradient=(0x37,)),
)


def b_value(ds: Attributes) -> float | None:
    """Return the b value in s/mm2, or ``None`` when the image does not tell."""
    standard = number(ds, "DiffusionBValue")
    if standard is not None:
        return standard
    for vendor in _VENDORS:
        if vendor.b_value is not None and (found := _private(ds, vendor, vendor.b_value)):
            return found[0] % _GE_MARK
    return None


def gradient(ds: Attributes) -> Vector | None:
    """Return the direction of the diffusion gradient, three numbers, ``None`` when there is none.

    It tells images of one series apart; its frame of reference differs between vendors.
    """
    standard = vector(ds, "DiffusionGradientOrientation", _THREE)
    found = [standard] if standard else list(_private_gradients(ds))
    return next((vector for vector in found if len(vector) == _THREE and any(vector)), None)


def _private_gradients(ds: Attributes) -> Iterator[Vector]:
    for vendor in _VENDORS:
        if vendor.gradient:
            yield tuple(n for element in vendor.gradient for n in _private(ds, vendor, element))


def _groups(ds: Dataset) -> set[int]:
    return {tag.group for tag in ds.keys()}  # noqa: SIM118 - without it every value is converted


def _private(ds: Attributes, vendor: _Vendor, element: int) -> Vector:
    if not isinstance(ds, Dataset) or vendor.group not in _groups(ds):
        return ()
    try:
        value = ds.private_block(vendor.group, vendor.creator)[element].value
    except UNCONVERTIBLE:
        return ()
    return numbers(tuple(value) if isinstance(value, (list, MultiValue)) else (value,)) or ()
