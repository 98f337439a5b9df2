"""The modality lookup table: stored to real values where no straight line does (PS3.3 C.11.1)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.attributes import Attributes, items, value_of

_BITS = range(8, 17)
_MAX_ENTRIES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ModalityLut:
    """Entry for the stored value `first`, then for the next, ...; `table` is uint16 little endian.

    An empty table is one that cannot be read: its images have no real values.
    """

    first: int
    table: bytes

    def apply(self, stored: NDArray[np.integer]) -> NDArray[np.uint16]:
        """Return the real values; what lies outside the table takes its first or last entry."""
        entries = np.frombuffer(self.table, "<u2")
        index = np.clip(stored.astype(np.int64) - self.first, 0, len(entries) - 1)
        values: NDArray[np.uint16] = entries[index]
        return values


def modality_lut_of(ds: Attributes) -> ModalityLut | None:
    """Return the modality lookup table of an instance, if it has one."""
    sequence = items(ds, "ModalityLUTSequence")
    if not sequence:
        return None
    broken = ModalityLut(first=0, table=b"")
    descriptor, data = (value_of(sequence[0], keyword) for keyword in ("LUTDescriptor", "LUTData"))
    try:
        count, first, bits = (int(value) for value in descriptor)
        count = count or _MAX_ENTRIES
        if isinstance(data, bytes):
            # entries of 8 bits lie two in a word, or one in each
            kind = "<u1" if len(data) < 2 * count else "<u2"
            entries = np.frombuffer(data, kind)[:count]
        else:
            entries = np.array(data, "<u2").reshape(-1)
    except (TypeError, ValueError, OverflowError):
        return broken
    if len(entries) != count or bits not in _BITS:
        return broken
    return ModalityLut(first=first, table=entries.astype("<u2").tobytes())
