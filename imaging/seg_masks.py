"""The masks of a stored Segmentation of type BINARY, one frame at a time (PS3.3 A.51, C.8.20.2)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pydicom import Dataset

from imaging.errors import ObjectInvalid
from imaging.findings import Mask
from imaging.slice_picture import Colour

YELLOW = (255, 214, 10)
_LEAST_CHROMA = 40
_WHITE_POINT = (0.95047, 1.0, 1.08883)  # D65, as sRGB
_DARK_TONE, _DARK_LINEAR = 6 / 29, 0.0031308  # below, both curves are straight
_TO_LINEAR_RGB = np.array(
    [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
)
_BITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentName:
    """What a segment is called and coded as, its tracking UID if any, and its colour (sRGB)."""

    label: str
    tracking_uid: str
    code: tuple[str, str]  # value, scheme
    colour: Colour


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentMasks:
    """Masks by the image they lie on; `dataset` is the whole object."""

    dataset: Dataset

    @cached_property
    def segments(self) -> Mapping[int, SegmentName]:
        """The segments by number."""
        return {
            int(item.SegmentNumber): SegmentName(
                label=str(item.get("SegmentLabel") or ""),
                tracking_uid=str(item.get("TrackingUID") or ""),
                code=_code(item),
                colour=_colour(item.get("RecommendedDisplayCIELabValue")),
            )
            for item in self.dataset.get("SegmentSequence") or ()
        }

    def on(self, image_key: str) -> Iterator[tuple[int, Mask]]:
        """Yield (segment number, mask) for the image, (row, column).

        `image_key` is that of `imaging.header.InstanceHeader`.
        """
        for frame, number in self._frames.get(image_key, ()):
            yield number, self._mask(frame)

    def coloured(
        self, image_key: str, shape: tuple[int | None, int | None]
    ) -> Iterator[tuple[Mask, Colour]]:
        """Yield (mask, colour) for the image, unless the image has another shape.

        Yellow stands for a grey that would not be seen on grey.
        """
        for number, mask in self.on(image_key):
            if mask.shape == shape and number in self.segments:
                colour = self.segments[number].colour
                yield mask, colour if max(colour) - min(colour) > _LEAST_CHROMA else YELLOW

    def images(self, segment: int) -> frozenset[str]:
        """Return the keys of the images on which a segment has a frame."""
        return frozenset(
            key for key, there in self._frames.items() if segment in {n for _, n in there}
        )

    @property
    def image_keys(self) -> frozenset[str]:
        """The images on which there is any frame."""
        return frozenset(self._frames)

    @cached_property
    def _frames(self) -> Mapping[str, list[tuple[int, int]]]:
        """(Frame index, segment number) by image."""
        found: dict[str, list[tuple[int, int]]] = {}
        for index, group in enumerate(self.dataset.get("PerFrameFunctionalGroupsSequence") or ()):
            try:
                number = int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
                source = group.DerivationImageSequence[0].SourceImageSequence[0]
            except (AttributeError, IndexError):
                continue  # a frame that does not say what it lies on cannot be drawn
            frame = source.get("ReferencedFrameNumber")
            key = str(source.ReferencedSOPInstanceUID) + (f"#{frame}" if frame else "")
            found.setdefault(key, []).append((index, number))
        return found

    @cached_property
    def _bits(self) -> bytes:
        if self.dataset.get("SegmentationType") != "BINARY" or self.dataset.BitsAllocated != 1:
            msg = "only binary segmentations can be read"
            raise ObjectInvalid(msg)
        return bytes(self.dataset.PixelData)

    def _mask(self, frame: int) -> Mask:
        """Frames follow one another without padding, first pixel in the lowest bit."""
        rows, columns = int(self.dataset.Rows), int(self.dataset.Columns)
        first, pixels = frame * rows * columns, rows * columns
        start, stop = first // _BITS, -(-(first + pixels) // _BITS)
        octets = np.frombuffer(self._bits[start:stop], np.uint8)
        bits = np.unpackbits(octets, bitorder="little")[first - start * _BITS :][:pixels]
        if len(bits) < pixels:
            msg = "the segmentation is shorter than its frames"
            raise ObjectInvalid(msg)
        mask: Mask = bits.reshape(rows, columns).astype(np.bool_)
        return mask


def _code(item: Dataset) -> tuple[str, str]:
    for code in item.get("SegmentedPropertyTypeCodeSequence") or ():
        return str(code.get("CodeValue") or ""), str(code.get("CodingSchemeDesignator") or "")
    return "", ""


def _colour(value: Sequence[int] | None) -> Colour:
    """Return the sRGB colour of a Recommended Display CIELab Value (PS3.3 C.10.7.1.1)."""
    if value is None:
        return YELLOW
    lightness, a, b = (float(v) / 65535 for v in value)
    fy = (lightness * 100 + 16) / 116
    tones = (fy + (a * 255 - 128) / 500, fy, fy - (b * 255 - 128) / 200)
    xyz = [
        white * (tone**3 if tone > _DARK_TONE else (tone - 16 / 116) / 7.787)
        for white, tone in zip(_WHITE_POINT, tones, strict=True)
    ]
    red, green, blue = (_gamma(float(v)) for v in _TO_LINEAR_RGB @ np.array(xyz))
    return red, green, blue


def _gamma(value: float) -> int:
    value = min(max(value, 0.0), 1.0)
    bent = 12.92 * value if value <= _DARK_LINEAR else 1.055 * value ** (1 / 2.4) - 0.055
    return round(bent * 255)
