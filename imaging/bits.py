"""Runs of bits out of packed ones (PS3.5 8.1.1: the first pixel is the lowest bit)."""

import numpy as np


def cut(packed: bytes, start: int, count: int) -> bytes:
    """Return `count` bits from bit `start`, packed anew from the first byte's lowest bit."""
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")
    return np.packbits(bits[start : start + count], bitorder="little").tobytes()
