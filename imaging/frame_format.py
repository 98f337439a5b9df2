"""What a header says one frame is made of, checked before a byte of it is read (PS3.3 C.7.6.3)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.errors import PixelsUnreadable

Stored = NDArray[Any]

# A frame larger than this is no radiograph: 8192 x 8192 at 32 bits, or a slide.
_MAX_FRAME_BYTES = 256 << 20
_BITS = (1, 8, 16, 32)
_FLOAT_BITS = (32, 64)
_BYTE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFormat:
    """Size and sample type of one frame. `shape` is (row, column) or (row, column, sample).

    `shift` is how far above the lowest bit samples are stored: High Bit of old senders. Pixels of
    1 bit become bytes, colours of which every two pixels share some become whole.
    """

    transfer_syntax_uid: str
    photometric: str
    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    planar: bool
    floating: bool = False
    shift: int = 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a stored sample, little endian."""
        kind = "f" if self.floating else "i" if self.signed else "u"
        return np.dtype(f"<{kind}{max(self.bits_allocated // _BYTE, 1)}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a decoded frame, samples last."""
        plane = (self.rows, self.columns)
        return plane if self.samples == 1 else (*plane, self.samples)

    @property
    def nbytes(self) -> int:
        """Bytes of a decoded frame."""
        return self.rows * self.columns * self.samples * self.dtype.itemsize

    def check(self) -> None:
        """Raise `PixelsUnreadable` when the numbers contradict one another or ask too much."""
        if not (self.rows > 0 and self.columns > 0 and self.samples in {1, 3}):
            msg = f"{self.rows} x {self.columns} pixels of {self.samples} samples are no image"
            raise PixelsUnreadable(msg)
        if self.bits_allocated not in (_FLOAT_BITS if self.floating else _BITS):
            kind = "floating point" if self.floating else "integer"
            msg = f"{kind} pixels of {self.bits_allocated} bits are not read"
            raise PixelsUnreadable(msg)
        if self.bits_allocated == 1 and self.samples > 1:
            msg = "colours of 1 bit are not read"
            raise PixelsUnreadable(msg)
        if not 0 < self.bits_stored <= self.bits_allocated - self.shift <= self.bits_allocated:
            high = self.bits_stored + self.shift - 1
            msg = (
                f"{self.bits_stored} bits are stored in {self.bits_allocated} allocated, "
                f"and the high bit is {high}: that cannot be"
            )
            raise PixelsUnreadable(msg)
        if self.nbytes > _MAX_FRAME_BYTES:
            msg = f"one frame would take {self.nbytes} bytes, more than {_MAX_FRAME_BYTES}"
            raise PixelsUnreadable(msg)


def fitted(stored: Stored, bits: int, shift: int = 0) -> Stored:
    """Return samples with all but `bits` bits, the lowest but `shift`, replaced by sign or zero.

    What lies above Bits Stored is not part of the value: old senders keep overlays there, and some
    write negative values without extending the sign (PS3.5 8.1.1). Works in place where it can.

    Raises
    ------
    PixelsUnreadable
        Something is below the samples: then it is not sure that they were shifted.
    """
    above = stored.dtype.itemsize * _BYTE - bits - shift
    if stored.dtype.kind == "f" or above + shift <= 0:
        return stored
    if shift and np.bitwise_and(stored, (1 << shift) - 1).any():
        msg = f"{bits} bits are stored above bit {shift - 1}, and yet there is something below"
        raise PixelsUnreadable(msg)
    if not stored.flags.writeable:
        stored = stored.copy()
    if stored.dtype.kind == "u" and not shift:
        np.bitwise_and(stored, (1 << bits) - 1, out=stored)
    else:
        np.left_shift(stored, above, out=stored)
        np.right_shift(stored, above + shift, out=stored)
    return stored


def unpacked(packed: NDArray[np.uint8], first: int, form: FrameFormat) -> Stored:
    """Return pixels of 1 bit as bytes of 0 and 1, from bit `first` on (PS3.5 8.1.1, 8.2)."""
    count = form.rows * form.columns
    bits = np.unpackbits(packed, count=first + count, bitorder="little")[first:]
    return bits.view(form.dtype).reshape(form.shape)
