"""Read the voxels of a sound stack: slices in parallel, straight into one array."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from threading import Event

import numpy as np

from imaging.decode_process import DecodeLimits
from imaging.errors import PixelsUnreadable
from imaging.frame_format import Stored
from imaging.frame_reader import FrameReader
from imaging.header import InstanceHeader
from imaging.pixels import rescale
from imaging.reasons import Reason
from imaging.stack import Stack
from imaging.tilt import straightened
from imaging.units import in_unit
from imaging.volume import Volume

_MAX_READERS = 8
_SLICES_PER_READER = 8  # a worker process takes as long to start as these take to decode


def load_volume(stack: Stack, *, unit: str = "", limits: DecodeLimits | None = None) -> Volume:
    """Return the `Volume` of a stack: every slice decoded, in real-world values.

    `unit` is the UCUM unit that they are wanted in; "" takes that of the modality transform.

    Raises
    ------
    PixelsUnreadable
        A slice cannot be decoded, and nothing is measured on the rest; or the header does not allow
        that unit.
    """
    stack = _in_unit(stack, unit)
    source = stack.source_grid or stack.grid
    voxels = np.empty(source.shape, dtype=np.float32)

    def place(index: int, stored: Stored) -> None:
        rescale(stored, stack.instances[index].image, voxels[index])

    _each(stack.instances, place, limits or DecodeLimits())
    if stack.source_grid is not None:
        voxels = straightened(voxels, stack.source_grid, stack.grid)
    return Volume(
        voxels=voxels,
        grid=stack.grid,
        instances=stack.instances,
        source_grid=stack.source_grid,
        notes=stack.notes,
    )


def stored_values(
    headers: Sequence[InstanceHeader], *, limits: DecodeLimits | None = None
) -> Stored:
    """Return the stored values of images of one size, (image, row, column), little endian.

    The type is that of the samples, widened where images of a series differ. A multi-frame
    instance that stayed whole is as many images as it has frames.

    Raises
    ------
    PixelsUnreadable
        An image cannot be decoded, or is of another size than the first.
    """
    limits = limits or DecodeLimits()
    with FrameReader(limits) as frames:
        formats = {frames.format(header) for header in headers}  # before frames are believed
    headers = [frame for header in headers for frame in _frames(header)]
    if len({form.shape for form in formats}) > 1:
        msg = "the images are of different sizes"
        raise PixelsUnreadable(msg)
    kind = np.result_type(*(form.dtype for form in formats))
    values = np.empty((len(headers), *next(iter(formats)).shape), kind)

    def place(index: int, stored: Stored) -> None:
        values[index] = stored

    _each(headers, place, limits)
    return values


def _frames(header: InstanceHeader) -> Iterator[InstanceHeader]:
    """Yield the images of an instance."""
    if header.frame is not None or header.image.frames == 1:
        yield header
    else:
        yield from (replace(header, frame=number) for number in range(header.image.frames))


def _in_unit(stack: Stack, unit: str) -> Stack:
    found = in_unit(stack, unit)
    if isinstance(found, Reason):
        raise PixelsUnreadable(found.text)
    return found


def _each(
    headers: Sequence[InstanceHeader],
    place: Callable[[int, Stored], None],
    limits: DecodeLimits,
) -> None:
    """Give every image's stored values to `place`, in any order, from several readers at once."""
    readers = min(len(os.sched_getaffinity(0)), _MAX_READERS, len(headers) // _SLICES_PER_READER)
    turn, failed = count(), Event()

    def share(_: int) -> None:
        with FrameReader(limits) as frames:
            # `next` of a count is one step of the interpreter: every index goes to one reader
            while (index := next(turn)) < len(headers) and not failed.is_set():
                try:
                    place(index, frames.stored(headers[index]))
                except Exception:
                    failed.set()
                    raise

    with ThreadPoolExecutor(max(readers, 1)) as pool:
        for _ in pool.map(share, range(max(readers, 1))):
            pass
