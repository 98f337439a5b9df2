"""Siemens mosaics as slices: one header for each tile of an image that holds a whole volume.

Position and Orientation (Patient) are those of a single slice as large as the mosaic, with the
first tile in its middle; the private CSA header tells the direction of the next tiles. A mosaic
whose header does not tell all of that stays whole, and is refused by name.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil, isqrt

import numpy as np
from pydicom import Dataset

from imaging.attributes import Vector, numbers
from imaging.header import InstanceHeader
from imaging.parts import Tile
from imaging.private import Private, private_numbers, private_values

_CSA = Private(0x0029, "SIEMENS CSA HEADER", 0x10, "OB")
_COUNT = Private(0x0019, "SIEMENS MR HEADER", 0x0A, "US")
_MAGIC, _HEAD, _TAG, _ITEM = b"SV10", 16, 84, 16
_MOST_TAGS, _MOST_ITEMS = 1024, 4096
_THREE = 3
# How far the normal may be from the cross product of the directions of rows and columns.
_SAME_DIRECTION = 0.999


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Where the tiles are: their number, how many lie in a row, and the step between slices."""

    tiles: int
    across: int
    step_mm: float
    step_from: str
    normal: Vector


def is_mosaic(header: InstanceHeader) -> bool:
    """Whether Image Type says that the image is a Siemens mosaic."""
    return "MOSAIC" in header.acquisition.image_type


def tiles_of(whole: InstanceHeader, ds: Dataset) -> tuple[InstanceHeader, ...]:
    """Return a header for each tile; the mosaic itself when its header does not tell enough."""
    layout = _layout(whole, ds)
    if layout is None:
        return (whole,)
    return tuple(_tile(whole, layout, number) for number in range(layout.tiles))


def _layout(whole: InstanceHeader, ds: Dataset) -> _Layout | None:
    csa = csa_numbers(next(iter(private_values(ds, _CSA)), b""))
    counts = {*csa.get("NumberOfImagesInMosaic", ()), *private_numbers(ds, _COUNT)}
    normal = csa.get("SliceNormalVector", ())
    # A protocol that counts its slices from the other end has been seen by no one here.
    if len(counts) != 1 or len(normal) != _THREE or any(csa.get("ProtocolSliceNumber", ())):
        return None
    image, tiles = whole.image, int(counts.pop())
    if tiles < 1 or None in {image.position, image.orientation, image.pixel_spacing_mm}:
        return None
    across = isqrt(tiles - 1) + 1  # tiles fill a square
    if not image.rows or not image.columns or image.rows % across or image.columns % across:
        return None
    steps = (
        ("Spacing Between Slices", abs(image.slice_spacing_mm or 0.0)),
        ("Slice Thickness", image.slice_thickness_mm or 0.0),
    )
    step = next((step for step in steps if step[1] > 0), None)
    if step is None or _sign(image.orientation or (), normal) == 0:
        return None
    return _Layout(tiles=tiles, across=across, step_from=step[0], step_mm=step[1], normal=normal)


def _sign(orientation: Vector, normal: Vector) -> int:
    """Return whether slices follow the cross product (1) or run against it (-1); else 0."""
    across = np.cross(orientation[:_THREE], orientation[_THREE:])
    cosine = float(across @ normal)
    return 0 if abs(cosine) < _SAME_DIRECTION else int(np.sign(cosine))


def _tile(whole: InstanceHeader, layout: _Layout, number: int) -> InstanceHeader:
    image = whole.image
    assert image.rows  # `_layout` has seen that all three are there
    assert image.columns
    assert image.position
    rows, columns = image.rows // layout.across, image.columns // layout.across
    orientation = np.array(image.orientation).reshape(2, _THREE)
    between_rows, between_columns = image.pixel_spacing_mm or (0.0, 0.0)
    normal = np.cross(*orientation) * _sign(image.orientation or (), layout.normal)
    position = (
        np.array(image.position)
        + orientation[0] * between_columns * (image.columns - columns) / 2
        + orientation[1] * between_rows * (image.rows - rows) / 2
        + normal / np.linalg.norm(normal) * layout.step_mm * number
    )
    tile = Tile(
        number=number,
        row=number // layout.across * rows,
        column=number % layout.across * columns,
        of_rows=image.rows,
        of_columns=image.columns,
    )
    placed = replace(
        image,
        rows=rows,
        columns=columns,
        position=tuple(position.tolist()),
        step_from=layout.step_from,
    )
    return replace(whole, tile=tile, image=placed)


# The CSA header: a list of named tags, each with a list of numbers as text


def csa_numbers(raw: object) -> Mapping[str, Vector]:
    """Return the numbers of a CSA header (version 2) by name; none of one that is damaged."""
    try:
        return dict(_tags(raw)) if isinstance(raw, bytes) else {}
    except (struct.error, IndexError):
        return {}


def _tags(raw: bytes) -> Iterator[tuple[str, Vector]]:
    if raw[:4] != _MAGIC:
        return
    (count,) = struct.unpack_from("<I", raw, 8)
    at = _HEAD
    for _ in range(min(count, _MOST_TAGS)):
        name, _, _, _, items, _ = struct.unpack_from("<64si4siii", raw, at)
        at += _TAG
        values = []
        for _ in range(min(items, _MOST_ITEMS)):
            _, length, _, _ = struct.unpack_from("<4i", raw, at)
            at += _ITEM
            values.append(raw[at : at + length].split(b"\0")[0].decode("ascii", "replace").strip())
            at += ceil(length / 4) * 4
            if not 0 <= at <= len(raw):
                raise IndexError
        found = numbers(tuple(filter(None, values)))
        yield name.split(b"\0")[0].decode("ascii", "replace"), found or ()
