"""Images as they are shown on any screen: grey scale, region and size (PS3.18 8.3.5, PS3.3 C.11.2).

Without a window of the request the sender's counts, else the values decide.
"""

import math
from dataclasses import dataclass, replace
from enum import Enum
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imaging.colour import colour_plane, is_grey
from imaging.errors import InputError
from imaging.frames import read_headers
from imaging.header import InstanceHeader
from imaging.pixels import plane
from imaging.volume import Voxels
from imaging.windows import auto_window, sender_window

_WHITE = 255
_QUALITY = 90
_LARGEST = 8192


class Function(Enum):
    """How values of a window become grey (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""

    LINEAR = "linear"
    LINEAR_EXACT = "linear-exact"
    SIGMOID = "sigmoid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A grey scale in the units of the image."""

    centre: float
    width: float
    function: Function = Function.LINEAR


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewport:
    """A size in pixels that the picture must fit in, and the region of the image that it shows.

    A region of ``None`` sides reaches to the edge; negative ones mirror it.
    """

    width: int
    height: int
    left: float = 0.0
    top: float = 0.0
    region_width: float | None = None
    region_height: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How an image is wanted; `quality` is that of JPEG, 1 to 100."""

    window: Window | None = None
    viewport: Viewport | None = None
    quality: int = _QUALITY


def rendered(path: Path, frame: int, look: Look) -> Image.Image:
    """Return one frame, counted from 0, of a Part 10 file as a picture.

    Raises
    ------
    PixelsUnreadable
        There are no pixels that can be decoded or shown.
    """
    header = _frame(path, frame)
    if is_grey(header):
        picture = Image.fromarray(_grey(header, look.window))
    else:
        picture = Image.fromarray(colour_plane(header))
    return picture if look.viewport is None else _shown(picture, look.viewport)


def encoded(picture: Image.Image, media_type: str, look: Look) -> bytes:
    """Return a picture as a file of type ``image/png`` or ``image/jpeg``."""
    buffer = BytesIO()
    if media_type == "image/png":
        picture.save(buffer, "PNG", compress_level=1)
    else:
        picture.save(buffer, "JPEG", quality=look.quality)
    return buffer.getvalue()


def _frame(path: Path, frame: int) -> InstanceHeader:
    headers = read_headers(path)
    return headers[frame] if len(headers) > 1 else replace(headers[0], frame=frame)


def _grey(header: InstanceHeader, window: Window | None) -> NDArray[np.uint8]:
    values = plane(header)
    if window is None:
        centre, width = sender_window(header) or auto_window(values)
        window = Window(centre=centre, width=width)
    grey = np.clip(_scaled(values, window), 0, 1)
    if header.image.photometric == "MONOCHROME1":
        grey = 1 - grey
    shown: NDArray[np.uint8] = (grey * _WHITE).round().astype(np.uint8)
    return shown


def _scaled(values: Voxels, window: Window) -> Voxels:
    centre, width = np.float32(window.centre), np.float32(window.width)
    match window.function:
        case Function.SIGMOID:
            exponent = np.clip(-4 * (values - centre) / width, -80, 80)
            return np.asarray(1 / (1 + np.exp(exponent)), np.float32)
        case Function.LINEAR_EXACT:
            return (values - centre) / width + np.float32(0.5)
        case Function.LINEAR:
            if width <= 1:  # a threshold
                return np.asarray(values > centre - np.float32(0.5), np.float32)
            return (values - (centre - np.float32(0.5))) / (width - 1) + np.float32(0.5)


def _shown(picture: Image.Image, viewport: Viewport) -> Image.Image:
    """Return the region, mirrored where asked for, as large as it fits without distortion."""
    whole = (picture.width - viewport.left, picture.height - viewport.top)
    wide = whole[0] if viewport.region_width is None else viewport.region_width
    high = whole[1] if viewport.region_height is None else viewport.region_height
    box = (viewport.left, viewport.top, viewport.left + abs(wide), viewport.top + abs(high))
    inside = (0 <= box[0] < box[2] <= picture.width) and (0 <= box[1] < box[3] <= picture.height)
    if not inside:
        msg = f"the region is not within the image of {picture.width} x {picture.height} pixels"
        raise InputError(msg)
    scale = min(viewport.width / abs(wide), viewport.height / abs(high))
    size = (max(1, round(abs(wide) * scale)), max(1, round(abs(high) * scale)))
    part = picture.resize(size, Image.Resampling.BICUBIC, box=box)
    if wide < 0:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return part.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if high < 0 else part


# What a request says


def look_of(window: str | None, viewport: str | None, quality: str | None) -> Look:
    """Return how an image is wanted, from the values of the query parameters.

    Raises
    ------
    InputError
        One of them is not what it must be.
    """
    return Look(
        window=None if window is None else _window(window),
        viewport=None if viewport is None else _viewport(viewport),
        quality=_QUALITY if quality is None else _quality(quality),
    )


def _window(text: str) -> Window:
    parts = text.split(",")
    try:
        centre, width = (float(part) for part in parts[:2])
        function = Function(parts[2].lower()) if len(parts) > 2 else Function.LINEAR  # noqa: PLR2004
    except ValueError as error:
        names = ", ".join(each.value for each in Function)
        msg = f"window must be centre,width,function, the function one of {names}"
        raise InputError(msg) from error
    if not (math.isfinite(centre) and math.isfinite(width) and width > 0):
        msg = "the window's width must be above 0"
        raise InputError(msg)
    return Window(centre=centre, width=width, function=function)


def _viewport(text: str) -> Viewport:
    try:
        numbers = [float(part) if part.strip() else None for part in text.split(",")]
        width, height, *region = numbers
        left, top, wide, high = (*region, None, None, None, None)[:4]
    except ValueError as error:
        msg = "viewport must be width,height or width,height,x,y,width,height"
        raise InputError(msg) from error
    known = [number for number in numbers if number is not None]
    if not all(map(math.isfinite, known)) or not (width and height and len(numbers) in {2, 4, 6}):
        msg = "viewport must have a width and a height"
        raise InputError(msg)
    if not (1 <= width <= _LARGEST and 1 <= height <= _LARGEST) or 0 in {wide, high}:
        msg = f"a viewport has from 1 to {_LARGEST} pixels a side"
        raise InputError(msg)
    return Viewport(
        width=int(width),
        height=int(height),
        left=left or 0.0,
        top=top or 0.0,
        region_width=wide,
        region_height=high,
    )


def _quality(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:4]) <= 100:  # noqa: PLR2004
        msg = "quality must be a whole number from 1 to 100"
        raise InputError(msg)
    return int(text)
