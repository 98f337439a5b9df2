"""Diffusion weighting of an MR image: the standard's attributes, else those of the vendors.

The private elements are those documented in the vendors' DICOM conformance statements; each is
read only below its private creator.
"""

from imaging.attributes import Attributes, Vector, number, vector
from imaging.private import Private, private_numbers

_THREE = 3
# GE adds multiples of this to b values of merged acquisitions.
_GE_MARK = 1_000_000_000
_SIEMENS, _UNITED = "SIEMENS MR HEADER", "Image Private Header"
_PHILIPS, _PHILIPS_MR = "Philips Imaging DD 001", "Philips MR Imaging DD 001"
_B_VALUES = (
    Private(0x0019, _SIEMENS, 0x0C, "IS"),
    Private(0x2001, _PHILIPS, 0x03, "FL"),
    Private(0x0043, "GEMS_PARM_01", 0x39, "IS"),
    Private(0x0065, _UNITED, 0x09, "FD"),
)
# The three numbers of a direction are in one element or in three.
_GRADIENTS = (
    (Private(0x0019, _SIEMENS, 0x0E, "FD"),),
    tuple(Private(0x2005, _PHILIPS_MR, element, "FL") for element in (0xB0, 0xB1, 0xB2)),
    tuple(Private(0x0019, "GEMS_ACQU_01", element, "DS") for element in (0xBB, 0xBC, 0xBD)),
    (Private(0x0065, _UNITED, 0x37, "FD"),),
)


def b_value(ds: Attributes) -> float | None:
    """Return the b value in s/mm2, or ``None`` when the image does not tell."""
    standard = number(ds, "DiffusionBValue")
    if standard is not None:
        return standard
    found = (private_numbers(ds, where) for where in _B_VALUES)
    return next((values[0] % _GE_MARK for values in found if values), None)


def gradient(ds: Attributes) -> Vector | None:
    """Return the direction of the diffusion gradient, three numbers, ``None`` when there is none.

    It tells images of one series apart; its frame of reference differs between vendors.
    """
    standard = vector(ds, "DiffusionGradientOrientation", _THREE)
    found = [standard] if standard else [_joined(ds, vendor) for vendor in _GRADIENTS]
    return next((vector for vector in found if len(vector) == _THREE and any(vector)), None)


def _joined(ds: Attributes, elements: tuple[Private, ...]) -> Vector:
    return tuple(number for where in elements for number in private_numbers(ds, where))
