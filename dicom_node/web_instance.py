"""What DICOMweb must know of an instance to answer without opening it as DICOM again."""

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_node.records import StoredInstance
from imaging.dicom_json import Bulk, JsonDataset, Place, hex_tag, json_of
from imaging.errors import PixelsUnreadable
from imaging.frame_places import FramePlaces, frame_places
from imaging.header import InstanceHeader, header_of, read_part10

ROOT = "/dicomweb"
_BYTE = 8
_FLOATS = {0x7FE00008: "OF", 0x7FE00009: "OD"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """The frames of an instance.

    `frames`: the bytes of each in the file, empty where they are not whole bytes, where the file is
    deflated and where `problem` says why they cannot be told apart. `at`: where the value of the
    pixel data begins, 0 in a deflated file. `bits`: size of a native frame.
    """

    count: int
    rows: int
    columns: int
    bits_allocated: int
    encapsulated: bool = False
    frames: tuple[Place, ...] = ()
    at: int = 0
    bits: int = 0
    problem: str = ""

    @property
    def in_file(self) -> bool:
        """Whether frames are bytes of the file."""
        return self.at > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WebInstance:
    """One instance: its file, its place in the document of its series, and its binary values."""

    instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    path: str
    number: int | None
    pixels: Pixels | None
    bulk: dict[str, Place] = field(default_factory=dict)
    start: int = 0
    end: int = 0

    def placed(self, start: int, end: int) -> "WebInstance":
        """Return it at its place in a document."""
        return replace(self, start=start, end=end)


def described(row: StoredInstance, file: Path) -> tuple[WebInstance, bytes]:
    """Return what is known of a stored instance, and its DICOM JSON."""
    part10 = read_part10(file)
    header = header_of(part10.dataset, path=file, pixels_at=part10.pixels_at)
    root = f"{ROOT}/studies/{row.study_uid}/series/{row.series_uid}/instances/{row.instance_uid}"
    bulk = Bulk(address=lambda tag: f"{root}/bulkdata/{tag}")
    deflated = row.transfer_syntax_uid == DeflatedExplicitVRLittleEndian
    found = json_of(part10.dataset, None if deflated else bulk)
    pixels = _deflated(header) if deflated else _pixels(header, bulk, found)
    instance = WebInstance(
        instance_uid=row.instance_uid,
        sop_class_uid=row.sop_class_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        path=row.path,
        number=row.instance_number,
        pixels=pixels,
        bulk=bulk.places,
    )
    return instance, json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode()


def _deflated(header: InstanceHeader) -> Pixels | None:
    return _sized(header) if header.image.rows and header.image.bits_allocated else None


def _pixels(header: InstanceHeader, bulk: Bulk, found: JsonDataset) -> Pixels | None:
    assert header.path is not None
    descriptor = os.open(header.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        places = frame_places(descriptor, header)
    except PixelsUnreadable as error:
        return replace(_sized(header), problem=str(error))
    finally:
        os.close(descriptor)
    if places is None:
        return None
    tag = hex_tag(places.tag)
    bulk.places[tag] = places.value
    found[tag] = {"vr": _vr(places, header), "BulkDataURI": bulk.address(tag)}
    return replace(
        _sized(header),
        encapsulated=places.encapsulated,
        frames=places.frames,
        at=places.value.offset,
        bits=places.bits,
        problem=places.problem,
    )


def _sized(header: InstanceHeader) -> Pixels:
    image = header.image
    return Pixels(
        count=max(image.frames, 1),
        rows=image.rows or 0,
        columns=image.columns or 0,
        bits_allocated=image.bits_allocated or 0,
    )


def _vr(places: FramePlaces, header: InstanceHeader) -> str:
    small = places.encapsulated or (header.image.bits_allocated or 0) <= _BYTE
    return _FLOATS.get(places.tag, "OB" if small else "OW")


# As JSON


def to_json(instance: WebInstance) -> dict[str, Any]:
    """Return an instance as it is kept beside its document."""
    pixels = instance.pixels
    return {
        "class": instance.sop_class_uid,
        "syntax": instance.transfer_syntax_uid,
        "path": instance.path,
        "number": instance.number,
        "at": [instance.start, instance.end],
        "bulk": {tag: [place.offset, place.length] for tag, place in instance.bulk.items()},
        "pixels": pixels
        and {
            "count": pixels.count,
            "size": [pixels.rows, pixels.columns, pixels.bits_allocated],
            "encapsulated": pixels.encapsulated,
            "frames": [number for each in pixels.frames for number in (each.offset, each.length)],
            "at": pixels.at,
            "bits": pixels.bits,
            "problem": pixels.problem,
        },
    }


def of_json(instance_uid: str, kept: dict[str, Any]) -> WebInstance:
    """Return the instance that was kept."""
    start, end = kept["at"]
    return WebInstance(
        instance_uid=instance_uid,
        sop_class_uid=kept["class"],
        transfer_syntax_uid=kept["syntax"],
        path=kept["path"],
        number=kept["number"],
        pixels=kept["pixels"] and _pixels_of(kept["pixels"]),
        bulk={tag: Place(offset=at, length=size) for tag, (at, size) in kept["bulk"].items()},
        start=start,
        end=end,
    )


def _pixels_of(kept: dict[str, Any]) -> Pixels:
    rows, columns, bits_allocated = kept["size"]
    numbers = iter(kept["frames"])
    return Pixels(
        count=kept["count"],
        rows=rows,
        columns=columns,
        bits_allocated=bits_allocated,
        encapsulated=kept["encapsulated"],
        frames=tuple(Place(offset=o, length=n) for o, n in zip(numbers, numbers, strict=True)),
        at=kept["at"],
        bits=kept["bits"],
        problem=kept["problem"],
    )
