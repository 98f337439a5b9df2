"""Deflated files (PS3.5 A.5): inflated within bounds, before any parser takes them whole."""

import struct
import zlib

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from imaging.errors import MalformedInstance

_META_START, _META_LENGTH = 132, 12
_GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"
_DEFLATED = DeflatedExplicitVRLittleEndian.encode()
_PLAIN = ExplicitVRLittleEndian.encode().ljust(len(_DEFLATED), b"\0")


def is_deflated(start: bytes) -> bool:
    """Whether the file meta information, in the first kilobyte of a file, says so."""
    (length,) = struct.unpack_from("<I", start.ljust(_META_START + _META_LENGTH), _META_START + 8)
    return _DEFLATED in start[: _META_START + _META_LENGTH + int(length)]


def body(raw: bytes) -> bytes:
    """Return the deflated data set of a Part 10 file, without its file meta information.

    Raises
    ------
    MalformedInstance
        The file meta information does not say how long it is.
    """
    return raw[_meta_end(raw) :]


def plain_start(raw: bytes, limit: int) -> bytes:
    """Return the file as if it were not deflated, as far as `limit` bytes of its data set.

    Raises
    ------
    MalformedInstance
        The file cannot be inflated.
    """
    end = _meta_end(raw)
    try:
        start = zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw[end:], limit)
    except zlib.error as error:
        msg = f"the deflated data set is damaged: {error}"
        raise MalformedInstance(msg) from error
    return raw[:end].replace(_DEFLATED, _PLAIN, 1) + start


def _meta_end(raw: bytes) -> int:
    if raw[_META_START : _META_START + 8] != _GROUP_LENGTH:
        msg = "the file meta information of a deflated file has no length"
        raise MalformedInstance(msg)
    (length,) = struct.unpack_from("<I", raw.ljust(_META_START + _META_LENGTH), _META_START + 8)
    return _META_START + _META_LENGTH + int(length)
