"""One slice as a picture: windowed, with square pixels, outlines and the patient's sides."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from imaging.findings import Mask
from imaging.header import InstanceHeader
from imaging.outline import outlines

Colour = tuple[int, int, int]
_FONT_SIZE, _LINE_WIDTH = 17, 2
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
# Directions closer to an axis than this do not name it: 0.25 is 75 degrees away.
_NAMED = 0.25
_OPPOSITE = str.maketrans("RLAPFH", "LRPAHF")


def grey(
    plane: NDArray[np.float32], window: tuple[float, float], *, photometric: str
) -> Image.Image:
    """Return a slice in real-world values, (row, column), in a window of (centre, width).

    In MONOCHROME1 low values are white (PS3.3 C.7.6.3.1.2).
    """
    centre, width = window
    shown = np.clip((plane - (centre - width / 2)) / width, 0, 1)
    if photometric == "MONOCHROME1":
        shown = 1 - shown
    return Image.fromarray((shown * 255).round().astype(np.uint8))


def slice_picture(
    image: Image.Image,
    header: InstanceHeader,
    *,
    spacing_mm: tuple[float, float],
    longest_side: int,
    regions: Iterable[tuple[Mask, Colour]] = (),
) -> Image.Image:
    """Return a slice as an RGB picture with square pixels.

    `spacing_mm` is (between rows, between columns). Each of `regions` is outlined in its colour.
    """
    picture = _square(image, spacing_mm, longest_side)
    for mask, colour in regions:
        _outline(picture, mask, colour)
    _mark_directions(picture, header)
    return picture


def font(size: int = _FONT_SIZE) -> Any:
    """Return the font of pictures; it has Latin letters only."""
    return ImageFont.load_default(size)


def directions(header: InstanceHeader) -> tuple[str, str]:
    """Return where rows and columns run, as letters of Patient Orientation (PS3.3 C.7.6.1.1.1)."""
    orientation = np.array(header.image.orientation or (1, 0, 0, 0, 1, 0))
    return _letters(orientation[:3]), _letters(orientation[3:])


def _square(
    picture: Image.Image, spacing_mm: tuple[float, float], longest_side: int
) -> Image.Image:
    between_rows, between_columns = spacing_mm
    wide, high = picture.width * between_columns, picture.height * between_rows
    scale = longest_side / max(wide, high)
    size = (max(1, round(wide * scale)), max(1, round(high * scale)))
    return picture.resize(size, Image.Resampling.BICUBIC).convert("RGB")


def _outline(picture: Image.Image, mask: Mask, colour: Colour) -> None:
    draw, (rows, columns) = ImageDraw.Draw(picture), mask.shape
    for outline in outlines(mask):
        points = outline * (picture.width / columns, picture.height / rows)
        draw.line([(float(x), float(y)) for x, y in points], fill=colour, width=_LINE_WIDTH)


def _mark_directions(picture: Image.Image, header: InstanceHeader) -> None:
    """Write at the left and upper edges where the patient's sides are."""
    right, down = (letters.translate(_OPPOSITE) for letters in directions(header))
    _mark(picture, right, place=(4, picture.height // 2), anchor="lm")
    _mark(picture, down, place=(picture.width // 2, 4), anchor="ma")


def _mark(picture: Image.Image, text: str, *, place: tuple[int, int], anchor: str) -> None:
    draw = ImageDraw.Draw(picture)
    draw.text(place, text, _WHITE, font(), anchor=anchor, stroke_width=2, stroke_fill=_BLACK)


def _letters(direction: NDArray[np.float64]) -> str:
    order = np.argsort(-np.abs(direction), kind="stable")
    return "".join(
        ("RAF" if direction[i] < 0 else "LPH")[i] for i in order if abs(direction[i]) > _NAMED
    )
