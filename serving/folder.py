"""Read a folder that may hold anything: sound DICOM instances, and why the rest was skipped."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from pydicom import dcmread, dcmwrite

from dicom_node.archive import Encoded
from dicom_node.checks import checked_header
from dicom_node.part10 import encoded_of
from imaging.errors import InputError, MalformedInstance
from imaging.header import InstanceHeader, read_dataset
from imaging.identity import derived_uid
from imaging.scan import scan

_STAND_INS = ("StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A sound instance; `path` is the file it came from."""

    path: Path
    encoded: Encoded
    header: InstanceHeader


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
        part10 = path.read_bytes()
        encoded = _identified(encoded_of(part10), part10, path)
        header = checked_header(encoded)
    except InputError as error:
        return Skipped(path=path, why=str(error))
    except OSError as error:
        return Skipped(path=path, why=f"the file cannot be read: {error.strerror}")
    return Found(path=path, encoded=encoded, header=replace(header, path=path))


def _identified(encoded: Encoded, part10: bytes, path: Path) -> Encoded:
    """Give stand-in UIDs to an instance whose identity was emptied, as some anonymizers do.

    Study and series become those of all such files with one frame of reference in one folder.
    """
    ds = read_dataset(part10)
    if all(ds.get(keyword) for keyword in ("SOPClassUID", "SOPInstanceUID", *_STAND_INS)):
        # The data set is the instance; file meta information is sometimes left from a copy.
        return replace(
            encoded, sop_class_uid=str(ds.SOPClassUID), instance_uid=str(ds.SOPInstanceUID)
        )
    scan(encoded.dataset, encoded.transfer_syntax_uid)  # writing anew would hide a truncation
    try:
        whole = dcmread(BytesIO(part10))
        place = (str(ds.get("FrameOfReferenceUID", "")), str(path.parent))
        for keyword in _STAND_INS:
            if not whole.get(keyword):
                setattr(whole, keyword, derived_uid(keyword, *place))
        whole.SOPClassUID = whole.get("SOPClassUID") or encoded.sop_class_uid
        whole.SOPInstanceUID = (
            whole.get("SOPInstanceUID") or encoded.instance_uid or derived_uid(path.name, *place)
        )
        whole.file_meta.MediaStorageSOPInstanceUID = whole.SOPInstanceUID
        buffer = BytesIO()
        dcmwrite(buffer, whole)
    except (ValueError, TypeError, AttributeError, KeyError, NotImplementedError) as error:
        msg = f"the instance has no identity and cannot be given one: {error}"
        raise MalformedInstance(msg) from error
    return encoded_of(buffer.getvalue())
