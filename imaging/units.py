"""The values of a stack in the unit that a model wants, where the header allows it.

A conversion is one straight line for each slice, so it takes the place of the rescale and is
applied while the pixels are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from imaging.header import InstanceHeader
from imaging.image import Image
from imaging.real_world import SUV_BY_WEIGHT, RealWorldMap
from imaging.reasons import Reason, reason
from imaging.stack import Stack
from imaging.suv import Uptake

_SAME_FACTOR = 0.001  # decay within a second of rounding is less


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """An image with its values in another unit; `note` says how, and is empty for the same unit."""

    image: Image
    note: Reason | None


def in_unit(stack: Stack, unit: str) -> Stack | Reason:
    """Return `stack` with its values in `unit` (UCUM; "" takes any), or why they cannot be."""
    if not unit:
        return stack
    found = conversions(stack.instances, unit)
    if isinstance(found, Reason):
        return found
    instances = tuple(
        replace(header, image=conversion.image)
        for header, conversion in zip(stack.instances, found, strict=True)
    )
    note = found[0].note
    return replace(stack, instances=instances, notes=(*stack.notes, *((note,) if note else ())))


def units_offered(headers: Sequence[InstanceHeader]) -> tuple[str, ...]:
    """Return every unit that the values of all images can be had in, their own first."""
    first = headers[0]
    named = [first.image.unit, *(each.unit for each in first.image.real_world)]
    named += [SUV_BY_WEIGHT] if first.uptake is not None else []
    return tuple(
        unit
        for unit in dict.fromkeys(filter(None, named))
        if not isinstance(conversions(headers, unit), Reason)
    )


def conversions(headers: Sequence[InstanceHeader], unit: str) -> tuple[Conversion, ...] | Reason:
    """Return each image with its values in `unit`, all in the same way, or why that cannot be."""
    found: list[Conversion] = []
    for header in headers:
        conversion = _converted(header, unit)
        if isinstance(conversion, Reason):
            return conversion
        found.append(conversion)
    if len({conversion.note and conversion.note.code for conversion in found}) > 1:
        return reason("UNIT", found="unknown", needed=unit)
    factors = [header.uptake.per_unit for header in headers if isinstance(header.uptake, Uptake)]
    if unit == SUV_BY_WEIGHT and max(factors, default=0) > min(factors, default=0) * (
        1 + _SAME_FACTOR
    ):
        return reason("NO_SUV_FACTOR", lacking="SeriesTime, AcquisitionTime")
    return tuple(found)


def _converted(header: InstanceHeader, unit: str) -> Conversion | Reason:
    if header.image.unit == unit:
        return Conversion(image=header.image, note=None)
    for each in header.image.real_world:
        if each.unit == unit:
            note = reason("REAL_WORLD_VALUES", unit=unit)
            return Conversion(image=_mapped(header.image, each), note=note)
    if unit == SUV_BY_WEIGHT and header.uptake is not None:
        return _taken_up(header, header.uptake)
    return reason("UNIT", found=header.image.unit or "unknown", needed=unit)


def _mapped(image: Image, each: RealWorldMap) -> Image:
    return replace(
        image,
        rescale=(each.slope, each.intercept),
        modality_lut=None,
        mapped=(each.first, each.last),
        unit=each.unit,
        window=None,
    )


def _taken_up(header: InstanceHeader, uptake: Uptake | Reason) -> Conversion | Reason:
    if isinstance(uptake, Reason):
        return uptake
    activity = _converted(header, uptake.unit)
    if isinstance(activity, Reason):
        return activity
    slope, intercept = activity.image.rescale or (1.0, 0.0)
    factor = uptake.per_unit
    image = replace(
        activity.image,
        rescale=(slope * factor, intercept * factor),
        unit=SUV_BY_WEIGHT,
        window=None,
    )
    return Conversion(image=image, note=reason("SUV_APPLIED", per_unit=factor, unit=uptake.unit))
