"""Data sets that are damaged on purpose, each made of a sound one by a seeded chance."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from random import Random
from typing import Any

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import CTImageStorage

from scripts.raw_pdus import EXPLICIT, IMPLICIT

_UNDEFINED = 0xFFFFFFFF
_DEEPEST = 10_000
_ITEM, _ITEM_END, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"
_PATHS = ("../../../etc/passwd", "/etc/cron.d/x", "..\\..\\x", "1.2.3/../4", "1.2.3\0/4", "con", "")
_VRS = (b"SQ", b"UN", b"OB", b"UI", b"US", b"DS", b"AT", b"ZZ", b"\0\0", b"ob")
_PREAMBLES = (
    b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n",
    b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00",
    b"PK\x03\x04\x14\x00\x00\x00\x08\x00",
    b"MZ\x90\x00\x03\x00\x00\x00",
    b"II*\x00\x08\x00\x00\x00",
    b"#!/bin/sh\nexit 1\n",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """An encoded data set with its transfer syntax, and what the command says it is."""

    data: bytes
    syntax: str = EXPLICIT
    instance_uid: str = "1.2.3"


def sound(**changes: object) -> Dataset:
    """Return a small CT image."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, "1.2.826.0.1.1"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.826.0.2", "1.2.826.0.3"
    ds.PatientID, ds.PatientName, ds.Modality = "FUZZ", "Fuzz^Test", "CT"
    ds.Rows = ds.Columns = 16
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = bytes(16 * 16 * 2)
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    return ds


def encoded(ds: Dataset, syntax: str = EXPLICIT) -> Damaged:
    """Return a data set as bytes."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, syntax == IMPLICIT
    write_dataset(buffer, ds)
    return Damaged(data=buffer.getvalue(), syntax=syntax, instance_uid=str(ds.SOPInstanceUID))


def part10(damaged: Damaged, preamble: bytes = b"") -> bytes:
    """Return a file of it, with whatever one likes in front."""
    meta = Dataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, damaged.syntax
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, meta)
    head = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(buffer.getvalue()))
    return f"{'':128}".encode()[: 128 - len(preamble)].join((preamble, b"")) + (
        b"DICM" + head + buffer.getvalue() + damaged.data
    )


def truncated(rng: Random) -> Damaged:
    """Return one that is cut off anywhere."""
    whole = encoded(sound(), rng.choice((EXPLICIT, IMPLICIT)))
    cut = rng.randrange(len(whole.data))
    return Damaged(data=whole.data[:cut], syntax=whole.syntax, instance_uid=whole.instance_uid)


def nested(rng: Random) -> Damaged:
    """Return sequences in sequences, of defined or undefined length, explicit or implicit."""
    depth = rng.choice((2, 33, 100, 1000, _DEEPEST))
    explicit, defined = rng.random() < 0.5, rng.random() < 0.5  # noqa: PLR2004
    heads, tails, size = list[bytes](), list[bytes](), 0
    for _ in range(depth):
        head, tail = _sequence(size, explicit=explicit, defined=defined)
        heads.append(head)
        tails.append(tail)
        size += len(head) + len(tail)
    whole = encoded(sound(), EXPLICIT if explicit else IMPLICIT)
    return _inserted(whole, b"".join(reversed(heads)) + b"".join(tails))


def _sequence(size: int, *, explicit: bool, defined: bool) -> tuple[bytes, bytes]:
    """Return what stands before and behind a content to make it a Referenced Study Sequence."""
    item = _ITEM + struct.pack("<I", size if defined else _UNDEFINED)
    item_end = b"" if defined else _ITEM_END + bytes(4)
    length = len(item) + size + len(item_end) if defined else _UNDEFINED
    head = b"\x08\x00\x10\x11" + (b"SQ\0\0" if explicit else b"") + struct.pack("<I", length)
    return head + item, item_end + (b"" if defined else _SEQUENCE_END + bytes(4))


def _inserted(whole: Damaged, content: bytes) -> Damaged:
    at = whole.data.index(b"\x10\x00\x10\x00")
    return Damaged(
        data=whole.data[:at] + content + whole.data[at:],
        syntax=whole.syntax,
        instance_uid=whole.instance_uid,
    )


def wrong_length(rng: Random) -> Damaged:
    """Return one with an element that ends elsewhere, far beyond the data, or nowhere."""
    length = rng.choice((0xFFFFFFFE, _UNDEFINED, 1 << 31, 1 << 20, rng.randrange(1 << 16)))
    vr = rng.choice((b"OB", b"UN", b"SQ", b"UT", b"OW"))
    element = b"\x09\x00\x10\x10" + vr + b"\0\0" + struct.pack("<I", length) + rng.randbytes(20)
    return _inserted(encoded(sound()), element)


def huge(rng: Random) -> Damaged:
    """Return one with frames, rows and bits that no machine could hold."""
    changes: dict[str, Any] = {
        "NumberOfFrames": rng.choice((2**31 - 1, 10**9, 1_000_001, 0, -1)),
        "Rows": rng.choice((16, 65535)),
        "Columns": rng.choice((16, 65535)),
        "BitsAllocated": rng.choice((16, 64, 65535)),
    }
    return encoded(sound(**changes))


def wrong_vr(rng: Random) -> Damaged:
    """Return one with a value representation that is another one, or none."""
    whole = bytearray(encoded(sound()).data)
    at = whole.index(rng.choice((b"\x08\x00\x18\x00", b"\x10\x00\x10\x00", b"\x28\x00\x10\x00")))
    whole[at + 4 : at + 6] = rng.choice(_VRS)
    return Damaged(data=bytes(whole))


def paths(rng: Random) -> Damaged:
    """Return one with UIDs that would lead elsewhere as file names."""
    keyword = rng.choice(("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"))
    ds, text = sound(), rng.choice(_PATHS)
    whole = encoded(ds)
    old = str(getattr(ds, keyword)).encode()
    new = text.encode()[: len(old)].ljust(len(old), b"\0")
    uid = text if keyword == "SOPInstanceUID" else whole.instance_uid
    return Damaged(data=whole.data.replace(old, new, 1), instance_uid=uid)


def flipped(rng: Random) -> Damaged:
    """Return one of which a few bits are not what they were."""
    whole = encoded(sound(), rng.choice((EXPLICIT, IMPLICIT)))
    data = bytearray(whole.data)
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return Damaged(data=bytes(data), syntax=whole.syntax, instance_uid=whole.instance_uid)


def noise(rng: Random) -> Damaged:
    """Return bytes of no meaning."""
    return Damaged(data=rng.randbytes(rng.randrange(4096)))


KINDS: tuple[Callable[[Random], Damaged], ...] = (
    truncated,
    nested,
    wrong_length,
    huge,
    wrong_vr,
    paths,
    flipped,
    noise,
)


def polyglot(rng: Random) -> bytes:
    """Return a file that another program may take for one of its own."""
    kind = rng.choice(KINDS) if rng.random() < 0.5 else None  # noqa: PLR2004
    return part10(kind(rng) if kind else encoded(sound()), rng.choice(_PREAMBLES))


def multipart(rng: Random) -> tuple[str, bytes]:
    """Return content type and body of a STOW-RS request that is not quite one."""
    declared = rng.choice(("frontier", "x" * 200, "", "fron\r\ntier", '"frontier'))
    used = rng.choice(("frontier", "other", declared))
    body = BytesIO()
    for _ in range(rng.choice((0, 1, 3, 200))):
        part = rng.choice((polyglot(rng), rng.randbytes(50), b"", bytes(1 << 16)))
        body.write(f"--{used}\r\nContent-Type: application/dicom\r\n".encode())
        body.write(rng.choice((b"\r\n", b"", b"X: " + b"y" * 9000 + b"\r\n\r\n")) + part + b"\r\n")
    body.write(rng.choice((f"--{used}--\r\n", f"--{used}", "")).encode())
    boundary = "".join(declared.splitlines()[:1])
    return f'multipart/related; type="application/dicom"; boundary={boundary}', body.getvalue()
