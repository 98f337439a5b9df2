"""What a header says one frame is made of, checked before a byte of it is read (PS3.3 C.7.6.3)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.errors import PixelsUnreadable

Stored = NDArray[Any]

# A frame larger than this is no radiograph: 8192 x 8192 at 32 bits, or a slide.
_MAX_FRAME_BYTES = 256 << 20
_BITS = (8, 16, 32)
_FLOAT_BITS = (32, 64)
_BYTE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFormat:
    """Size and sample type of one frame. `shape` is (row, column) or (row, column, sample)."""

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

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a stored sample, little endian."""
        kind = "f" if self.floating else "i" if self.signed else "u"
        return np.dtype(f"<{kind}{self.bits_allocated // _BYTE}")

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
        if not 0 < self.bits_stored <= self.bits_allocated:
            msg = f"{self.bits_stored} bits are stored in {self.bits_allocated} allocated"
            raise PixelsUnreadable(msg)
        if self.nbytes > _MAX_FRAME_BYTES:
            msg = f"one frame would take {self.nbytes} bytes, more than {_MAX_FRAME_BYTES}"
            raise PixelsUnreadable(msg)


def fitted(stored: Stored, bits: int) -> Stored:
    """Return samples with all but their lowest `bits` bits replaced by the sign, or zero.

    What lies above Bits Stored is not part of the value: old senders keep overlays there, and some
    write negative values without extending the sign (PS3.5 8.1.1). Works in place where it can.
    """
    spare = stored.dtype.itemsize * _BYTE - bits
    if stored.dtype.kind == "f" or spare <= 0:
        return stored
    if not stored.flags.writeable:
        stored = stored.copy()
    if stored.dtype.kind == "u":
        np.bitwise_and(stored, (1 << bits) - 1, out=stored)
    else:
        np.left_shift(stored, spare, out=stored)
        np.right_shift(stored, spare, out=stored)
    return stored
