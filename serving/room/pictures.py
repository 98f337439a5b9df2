"""Slices as pictures: read, windowed and outlined here, so that a browser needs nothing but images.

Slices are numbered from 0 in the order of the stacks that models read; images that form no stack
follow by instance number.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image
from pydicom import dcmread

from dicom_node.archive import Archive
from dicom_node.index import Index
from imaging.colour import colour_plane, is_grey
from imaging.errors import InputError, NotFound, ObjectInvalid
from imaging.findings import Mask
from imaging.frames import read_headers
from imaging.header import InstanceHeader
from imaging.pixels import plane
from imaging.seg_masks import SegmentMasks
from imaging.slice_picture import Colour, grey, slice_picture
from imaging.stack import Stack, stacks_of
from imaging.windows import AUTO, SENDER, Window, auto_window, preset_window, sender_window
from serving.recent import Recent
from serving.records import Result

SIZES = (256, 768)
_SERIES_KEPT, _PICTURES_KEPT, _SEGMENTATIONS_KEPT = 16, 512, 6
_SAMPLED = 5
_QUALITY = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """The images of one series in the order they are scrolled through."""

    headers: tuple[InstanceHeader, ...]

    def place_of(self, instance_uid: str | None) -> int | None:
        """Return the number of the first slice of an instance."""
        uids = (str(header.instance_uid) for header in self.headers)
        return next((place for place, uid in enumerate(uids) if uid == instance_uid), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One picture: slice `place` of a series in a window, with or without outlines."""

    study_uid: str
    series_uid: str
    place: int
    window: str
    size: int
    overlay: tuple[str, ...]


class Pictures:
    """Draws slices of stored series; what was drawn is kept for a while."""

    def __init__(self, index: Index, archive: Archive) -> None:
        self._index, self._archive = index, archive
        self._series: Recent[Slices] = Recent(_SERIES_KEPT)
        self._windows: Recent[Window] = Recent(_SERIES_KEPT)
        self._masks: Recent[SegmentMasks] = Recent(_SEGMENTATIONS_KEPT)
        self._drawn: Recent[bytes] = Recent(_PICTURES_KEPT)

    def slices(self, study_uid: str, series_uid: str) -> Slices:
        """Return the slices of a series; `NotFound` when there are none."""
        stored = [
            instance
            for instance in self._index.instances_of(study_uid, series_uid)
            if instance.origin == "received"
        ]
        if not stored:
            msg = f"series {series_uid} has no images here"
            raise NotFound(msg)
        paths = [self._archive.file(instance.path) for instance in stored]

        def read() -> Slices:
            return Slices(headers=_ordered([h for path in paths for h in read_headers(path)]))

        return self._series.get((series_uid, len(stored)), read)

    def jpeg(self, wish: Wish) -> bytes:
        """Return one slice as JPEG.

        Raises
        ------
        NotFound
            There is no such slice.
        PixelsUnreadable
            Its pixels cannot be decoded.
        """
        slices = self.slices(wish.study_uid, wish.series_uid)
        if not 0 <= wish.place < len(slices.headers):
            msg = f"the series has no slice {wish.place}"
            raise NotFound(msg)
        return self._drawn.get((wish, len(slices.headers)), lambda: self._draw(wish, slices))

    def masks(self, instance_uid: str) -> SegmentMasks | None:
        """Return the masks of a stored segmentation, ``None`` when it cannot be read."""

        def read() -> SegmentMasks:
            stored = self._index.instance(instance_uid)
            if stored is None:
                msg = f"segmentation {instance_uid} is not here"
                raise NotFound(msg)
            return SegmentMasks(dataset=dcmread(self._archive.file(stored.path)))

        try:
            return self._masks.get(instance_uid, read)
        except (NotFound, InputError):
            return None

    def _draw(self, wish: Wish, slices: Slices) -> bytes:
        header = slices.headers[wish.place]
        rows_mm, columns_mm = header.image.pixel_spacing_mm or (1.0, 1.0)
        picture = slice_picture(
            self._image(wish, slices),
            header,
            spacing_mm=(rows_mm, columns_mm),
            longest_side=wish.size,
            regions=self._regions(wish, header),
        )
        out = BytesIO()
        picture.save(out, "JPEG", quality=_QUALITY, subsampling=0)
        return out.getvalue()

    def _image(self, wish: Wish, slices: Slices) -> Image.Image:
        header = slices.headers[wish.place]
        if is_grey(header):
            window = self._window(wish, slices)
            return grey(plane(header), window, photometric=header.image.photometric)
        return Image.fromarray(colour_plane(header))

    def _regions(self, wish: Wish, header: InstanceHeader) -> Iterator[tuple[Mask, Colour]]:
        """Yield what can be drawn: a picture without an outline says less, but nothing wrong."""
        for masks in filter(None, map(self.masks, wish.overlay)):
            with suppress(ObjectInvalid):
                yield from masks.coloured(header.image_key, _shape(header))

    def _window(self, wish: Wish, slices: Slices) -> Window:
        header = slices.headers[wish.place]
        fixed = preset_window(wish.window, header.series.modality)
        if wish.window == SENDER:
            fixed = sender_window(header)
        if fixed:
            return fixed
        key = (wish.series_uid, len(slices.headers))
        return self._windows.get(key, lambda: _window_of_all(slices))


def default_window(slices: Slices) -> str:
    """Return the name of the window that a series is first shown in."""
    first = slices.headers[0]
    return SENDER if first.series.modality == "CT" and sender_window(first) else AUTO


def overlays_of(results: tuple[Result, ...]) -> tuple[str, ...]:
    """Return the segmentations that are drawn: sound ones that nothing superseded."""
    return tuple(
        result.instance_uid
        for result in results
        if result.kind == "SEG" and result.state == "valid" and not result.superseded_by
    )


def _window_of_all(slices: Slices) -> Window:
    """Return one window for the series, from slices spread over it: it must not flicker."""
    count = len(slices.headers)
    places = sorted({round(count * (k + 0.5) / _SAMPLED - 0.5) for k in range(_SAMPLED)})
    planes = [plane(slices.headers[place]).ravel() for place in places]
    return auto_window(np.concatenate(planes))


def _ordered(headers: list[InstanceHeader]) -> tuple[InstanceHeader, ...]:
    parts = sorted(stacks_of(headers), key=lambda part: not isinstance(part, Stack))
    found: list[InstanceHeader] = []
    for part in parts:
        sound = isinstance(part, Stack)
        images = part.instances if sound else sorted(part.instances, key=_number)
        found.extend(images)
    return tuple(found)


def _shape(header: InstanceHeader) -> tuple[int | None, int | None]:
    return header.image.rows, header.image.columns


def _number(header: InstanceHeader) -> tuple[int, int]:
    return header.instance_number or 0, header.frame or 0
