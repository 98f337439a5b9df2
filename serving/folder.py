"""Read a folder that may hold anything: sound DICOM instances, and why the rest was skipped."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from dicom_node.archive import Encoded
from dicom_node.checks import checked
from dicom_node.part10 import encoded_of
from imaging.errors import InputError, MalformedInstance, NotDicom
from imaging.frames import frames_of
from imaging.header import InstanceHeader, read_dataset
from imaging.identity import derived_uid
from imaging.scan import Layout, scan

_PREFIX = bytes(128) + b"DICM"
# The first elements of a data set without preamble, prefix and perhaps file meta information.
_FIRST_GROUPS = (2, 8)
_FIRST_ELEMENTS = range(0x19)  # up to SOP Instance UID
_VRS = (b"UL", b"OB", b"CS", b"UI", b"SH", b"DA", b"TM", b"LO", b"DT", b"ST")
_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_STAND_INS = ("StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A sound instance: the file it came from, and a header for each of its images.

    `encoded` is what would be stored: where an emptied identity was replaced, not what is in the
    file. `headers` lead to the pixels in the file.
    """

    path: Path
    encoded: Encoded
    headers: tuple[InstanceHeader, ...]

    @property
    def header(self) -> InstanceHeader:
        """The header of the first image: what identifies the instance is the same in all."""
        return self.headers[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A file that is not a sound DICOM instance."""

    path: Path
    why: str


def read_folder(folder: Path) -> Iterator[Found | Skipped]:
    """Go through every file below `folder` in order of name; never raises for what a file holds."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield _read(path)


def _read(path: Path) -> Found | Skipped:
    try:
        raw = _dicom_bytes(path)
        encoded = _encoded(raw)
        if encoded.sop_class_uid == MediaStorageDirectoryStorage:
            return Skipped(path=path, why="a DICOMDIR lists other files and is no image")
        layout = scan(encoded.dataset, encoded.transfer_syntax_uid)
        pixels_at = _pixels_at(len(raw) - len(encoded.dataset), encoded, layout)
        encoded, layout = _identified(encoded, layout, path)
        found = checked(encoded, layout)
    except InputError as error:
        return Skipped(path=path, why=str(error))
    except OSError as error:
        return Skipped(path=path, why=f"the file cannot be read: {error.strerror}")
    header = replace(found.header, path=path, pixels_at=pixels_at)
    return Found(path=path, encoded=encoded, headers=frames_of(header, found.dataset))


def _dicom_bytes(path: Path) -> bytes:
    """Return the whole file if its start may be that of a DICOM file."""
    with path.open("rb") as file:
        start = file.read(len(_PREFIX))
        if not (start[128:] == b"DICM" or _is_bare(start)):
            raise NotDicom
        return start + file.read()


def _is_bare(start: bytes) -> bool:
    """Whether a file begins with a first element of file meta information or of a data set."""
    if len(start) < len(_PREFIX):
        return False
    heads = (struct.unpack_from(order + "HH", start) for order in "<>")
    return any(g in _FIRST_GROUPS and e in _FIRST_ELEMENTS for g, e in heads)


def _encoded(raw: bytes) -> Encoded:
    """Take a file apart, also one that lacks preamble and prefix, or file meta information too."""
    if raw[128:132] == b"DICM":
        return encoded_of(raw)
    if raw[0] == _FIRST_GROUPS[0]:
        return encoded_of(_PREFIX + raw)
    syntax: str = ExplicitVRLittleEndian if raw[4:6] in _VRS else ImplicitVRLittleEndian
    syntax = syntax if raw[0] else ExplicitVRBigEndian  # of group 8 the lower byte is not 0
    return Encoded(dataset=raw, sop_class_uid="", instance_uid="", transfer_syntax_uid=syntax)


def _pixels_at(start: int, encoded: Encoded, layout: Layout) -> int | None:
    """Return the byte of the file where the pixel data element begins; none when deflated."""
    deflated = encoded.transfer_syntax_uid == DeflatedExplicitVRLittleEndian
    return None if deflated else start + layout.header_length


def _identified(encoded: Encoded, layout: Layout, path: Path) -> tuple[Encoded, Layout]:
    """Name an instance by its data set; give stand-in UIDs where the identity was emptied.

    The data set is believed: file meta information is sometimes left from a copy. Study and series
    of nameless files become those of all such files with one frame of reference in one folder.
    """
    uids = [_value(encoded, layout, tag) for tag in (_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES)]
    if all(uids):
        return replace(encoded, sop_class_uid=uids[0], instance_uid=uids[1]), layout
    part10 = encoded.part10() + encoded.dataset
    ds = read_dataset(part10)
    if all(ds.get(keyword) for keyword in ("SOPClassUID", "SOPInstanceUID", *_STAND_INS)):
        return replace(
            encoded, sop_class_uid=str(ds.SOPClassUID), instance_uid=str(ds.SOPInstanceUID)
        ), layout
    named = encoded_of(_named(part10, encoded, path))
    return named, scan(named.dataset, named.transfer_syntax_uid)


def _value(encoded: Encoded, layout: Layout, tag: int) -> str:
    """Return the text of an element straight from its bytes; "" when it must be parsed."""
    if encoded.transfer_syntax_uid in {DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian}:
        return ""
    if tag not in layout.elements:
        return ""
    extent = layout.elements[tag]
    value = encoded.dataset[extent.offset : extent.offset + extent.length]
    return value.decode("ascii", "replace").strip(" \0")


def _named(part10: bytes, encoded: Encoded, path: Path) -> bytes:
    """Return the file with a whole identity."""
    try:
        whole = dcmread(BytesIO(part10))
        _name(whole, encoded, path)
        buffer = BytesIO()
        dcmwrite(buffer, whole)
    except (ValueError, TypeError, AttributeError, KeyError, NotImplementedError) as error:
        msg = f"the instance has no identity and cannot be given one: {error}"
        raise MalformedInstance(msg) from error
    return buffer.getvalue()


def _name(whole: Dataset, encoded: Encoded, path: Path) -> None:
    place = (str(whole.get("FrameOfReferenceUID", "")), str(path.parent))
    for keyword in _STAND_INS:
        if not whole.get(keyword):
            setattr(whole, keyword, derived_uid(keyword, *place))
    whole.SOPClassUID = whole.get("SOPClassUID") or encoded.sop_class_uid
    whole.SOPInstanceUID = (
        whole.get("SOPInstanceUID") or encoded.instance_uid or derived_uid(path.name, *place)
    )
    whole.file_meta.MediaStorageSOPInstanceUID = whole.SOPInstanceUID
