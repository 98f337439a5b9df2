"""Stored values of one slice after another, from whatever file and encoding each has."""

from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np

from imaging.decode_process import DecodeLimits, DecodeProcess
from imaging.frame_format import FrameFormat, Stored, fitted
from imaging.header import InstanceHeader
from imaging.pixel_file import PixelFile


class FrameReader:
    """Reads frames for one thread: keeps the last file open and one worker process alive.

    Native pixels are read here, compressed ones decoded in the worker. A context manager.
    """

    def __init__(self, limits: DecodeLimits) -> None:
        self._decoder = DecodeProcess(limits)
        self._file: PixelFile | None = None
        self._uid = ""
        self._plane: Stored | None = None
        self._mosaic: Stored | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
        self._decoder.close()

    def format(self, header: InstanceHeader) -> FrameFormat:
        """Return what a frame of the instance, or a tile of it, is made of."""
        form = self._opened(header).format
        if header.tile is None:
            return form
        return replace(form, rows=header.image.rows or 0, columns=header.image.columns or 0)

    def stored(self, header: InstanceHeader) -> Stored:
        """Return the stored values of one frame, little endian; the next call overwrites them.

        (row, column), or (row, column, sample) for colour; RGB where the codec made it so. Of a
        mosaic only the tile.

        Raises
        ------
        PixelsUnreadable
            The pixel data are absent, damaged or other than the header says.
        """
        if header.tile is None:
            return self._frame(header)
        if self._mosaic is None or self._uid != header.instance_uid:
            self._mosaic = self._frame(header)
        tile, form = header.tile, self.format(header)
        bottom, right = tile.row + form.rows, tile.column + form.columns
        return self._mosaic[tile.row : bottom, tile.column : right]

    def _frame(self, header: InstanceHeader) -> Stored:
        file = self._opened(header)
        frame, form = header.frame or 0, file.format
        if not file.native:
            return self._decoder.decode(file.codestream(frame), form)
        plane = self._buffer(form)
        file.read_native(frame, plane)
        return fitted(_samples_last(plane, form), form.bits_stored, form.shift)

    def _opened(self, header: InstanceHeader) -> PixelFile:
        if self._file is None or self._uid != header.instance_uid or self._file.path != header.path:
            self._close()
            self._file, self._uid = PixelFile(_whole(header)), header.instance_uid
        return self._file

    def _close(self) -> None:
        file, self._file, self._mosaic = self._file, None, None
        if file is not None:
            file.close()

    def _buffer(self, form: FrameFormat) -> Stored:
        if self._plane is None or (self._plane.dtype, self._plane.shape) != (
            form.dtype,
            form.shape,
        ):
            self._plane = np.empty(form.shape, form.dtype)
        return self._plane


def _whole(header: InstanceHeader) -> InstanceHeader:
    """Return the header of the image that is in the file."""
    if header.tile is None:
        return header
    rows, columns = header.tile.of_rows, header.tile.of_columns
    return replace(header, image=replace(header.image, rows=rows, columns=columns))


def _samples_last(plane: Stored, form: FrameFormat) -> Stored:
    """Colour by plane (PS3.3 C.7.6.3.1.3) to colour by pixel."""
    if form.samples == 1 or not form.planar:
        return plane
    return np.moveaxis(plane.reshape(form.samples, form.rows, form.columns), 0, -1).copy()
