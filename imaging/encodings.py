"""The transfer syntaxes that are read, and how each codes its pixels (PS3.5 section 10, annex A).

>>> encoding_of("1.2.840.10008.1.2.4.80").coding
<Coding.JPEG_LS: 'JPEG-LS'>
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from imaging.errors import PixelsUnreadable


class Coding(Enum):
    """How the bytes of a frame become samples."""

    NATIVE = "native"  # samples one after the other
    RLE = "RLE"  # byte planes, PackBits (PS3.5 annex G)
    JPEG = "JPEG"  # ISO 10918-1: baseline, extended, progressive and lossless alike
    JPEG_LS = "JPEG-LS"  # ISO 14495-1
    JPEG_2000 = "JPEG 2000"  # ISO 15444-1, and -15 for high throughput
    DEFLATED_FRAME = "deflated frame"  # each frame deflated by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """One transfer syntax; `lossy` says that it never keeps every value, `may_lose` that it may."""

    name: str
    coding: Coding = Coding.NATIVE
    implicit: bool = False
    big_endian: bool = False
    deflated: bool = False
    lossy: bool = False
    may_lose: bool = False


ENCODINGS: Mapping[str, Encoding] = MappingProxyType(
    {
        f"1.2.840.10008.1.2{suffix}": encoding
        for suffix, encoding in (
            ("", Encoding(name="implicit little endian", implicit=True)),
            (".1", Encoding(name="explicit little endian")),
            (".1.99", Encoding(name="deflated explicit little endian", deflated=True)),
            (".2", Encoding(name="explicit big endian", big_endian=True)),
            (".5", Encoding(name="RLE lossless", coding=Coding.RLE)),
            (".4.50", Encoding(name="JPEG baseline", coding=Coding.JPEG, lossy=True)),
            (".4.51", Encoding(name="JPEG extended", coding=Coding.JPEG, lossy=True)),
            (".4.53", Encoding(name="JPEG spectral selection", coding=Coding.JPEG, lossy=True)),
            (".4.55", Encoding(name="JPEG full progression", coding=Coding.JPEG, lossy=True)),
            (".4.57", Encoding(name="JPEG lossless", coding=Coding.JPEG)),
            (".4.70", Encoding(name="JPEG lossless, first order", coding=Coding.JPEG)),
            (".4.80", Encoding(name="JPEG-LS lossless", coding=Coding.JPEG_LS)),
            (".4.81", Encoding(name="JPEG-LS near-lossless", coding=Coding.JPEG_LS, may_lose=True)),
            (".4.90", Encoding(name="JPEG 2000 lossless", coding=Coding.JPEG_2000)),
            (".4.91", Encoding(name="JPEG 2000", coding=Coding.JPEG_2000, may_lose=True)),
            (".4.201", Encoding(name="HTJ2K lossless", coding=Coding.JPEG_2000)),
            (".4.202", Encoding(name="HTJ2K lossless, RPCL", coding=Coding.JPEG_2000)),
            (".4.203", Encoding(name="HTJ2K", coding=Coding.JPEG_2000, may_lose=True)),
            (".8.1", Encoding(name="deflated frame", coding=Coding.DEFLATED_FRAME)),
        )
    }
)


def encoding_of(transfer_syntax_uid: str) -> Encoding:
    """Return how a transfer syntax codes pixels.

    Raises
    ------
    PixelsUnreadable
        The transfer syntax is not one that is read.
    """
    encoding = ENCODINGS.get(transfer_syntax_uid)
    if encoding is None:
        msg = f"pixels in transfer syntax {transfer_syntax_uid or '(none)'} are not read"
        raise PixelsUnreadable(msg)
    return encoding
