"""What the node's tests share: a running node, DCMTK's clients and small data sets."""

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.archive import Archive, Encoded
from dicom_node.index import Index
from dicom_node.ingest import Ingest, Stored
from dicom_node.scp import Node
from imaging.identity import ae_title, derived_uid

_NODELAY = {**os.environ, "TCP_NODELAY": "1"}
OURS = ae_title("WETREAD")


@dataclass(kw_only=True)
class Running:
    """A node on a free port, and what it told about ended associations."""

    node: Node
    ingest: Ingest
    index: Index
    archive: Archive
    released: list[frozenset[str]] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.node.port

    def dcmtk(self, tool: str, *arguments: object, called: str = "WETREAD") -> "Ran":
        return run(tool, "-aec", called, "127.0.0.1", self.port, *arguments)


@dataclass(kw_only=True)
class Ran:
    code: int
    output: str


def run(tool: str, *arguments: object) -> Ran:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    done = subprocess.run(
        [tool, *map(str, arguments)],
        env=_NODELAY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    return Ran(code=done.returncode, output=done.stdout.decode(errors="replace"))


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until `condition` holds, and fail if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def image(
    number: int = 1, *, study: str = "study", series: str = "series", **header: object
) -> Dataset:
    """Return a CT image of 16 x 16 whose UIDs follow from study, series and number."""
    ds = Dataset()
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = derived_uid(study, series, str(number))
    ds.StudyInstanceUID = derived_uid(study)
    ds.SeriesInstanceUID = derived_uid(study, series)
    ds.PatientID, ds.PatientName = "P1", "Doe^Jane"
    ds.Modality, ds.StudyDate, ds.StudyDescription = "CT", "20260102", "Head"
    ds.SeriesNumber, ds.InstanceNumber = 3, number
    ds.Rows, ds.Columns, ds.SamplesPerPixel = 16, 16, 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = bytes([number % 256, 0]) * 256
    for keyword, value in header.items():
        setattr(ds, keyword, value)
    return ds


def part10(ds: Dataset, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> bytes:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = transfer_syntax_uid
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def dataset_of(file: bytes) -> bytes:
    """Return what follows the file meta information of a Part 10 file."""
    length = int.from_bytes(file[140:144], "little")
    assert file[132:136] == b"\x02\x00\x00\x00"
    return file[144 + length :]


def save(folder: Path, *images: Dataset) -> list[Path]:
    folder.mkdir(exist_ok=True, parents=True)
    paths = [folder / f"{ds.SOPInstanceUID}.dcm" for ds in images]
    for path, ds in zip(paths, images, strict=True):
        path.write_bytes(part10(ds))
    return paths


def in_parallel(count: int, work: Callable[[int], object]) -> None:
    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def store(ingest: Ingest, ds: Dataset, *, calling_ae: str = "PACS") -> Stored:
    """Hand a data set to `Ingest.store` as the listener does."""
    encoded = dataset_of(part10(ds))
    return ingest.store(
        encoded,
        sop_class_uid=ds.SOPClassUID,
        instance_uid=ds.SOPInstanceUID,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        calling_ae=calling_ae,
        address="127.0.0.1",
    )


def prepared(source: Path, folder: Path, *, whole: bool = True) -> Path:
    """Write a foreign file with a file meta that fits it; the data set stays as it is.

    Only where `whole` is asked for and a UID is missing altogether, stand-ins are put in.
    """
    file = source.read_bytes()
    ds = dcmread(source, force=True)
    plain = ImplicitVRLittleEndian if ds.original_encoding[0] else ExplicitVRLittleEndian
    syntax = str(ds.file_meta.get("TransferSyntaxUID") or plain)
    encoded = Encoded(
        dataset=_after_meta(file),
        sop_class_uid=str(ds.get("SOPClassUID") or CTImageStorage),
        instance_uid=str(ds.get("SOPInstanceUID") or derived_uid(source.name)),
        transfer_syntax_uid=syntax,
    )
    if whole and not all(ds.get(f"{level}InstanceUID") for level in ("Study", "Series", "SOP")):
        encoded = replace(encoded, dataset=_completed(ds, encoded))
    target = folder / f"prepared-{source.name}"
    target.write_bytes(encoded.part10() + encoded.dataset)
    return target


def _completed(ds: Dataset, encoded: Encoded) -> bytes:
    ds.SOPClassUID, ds.SOPInstanceUID = encoded.sop_class_uid, encoded.instance_uid
    for level in ("Study", "Series"):
        uid = ds.get(f"{level}InstanceUID") or derived_uid(level, encoded.instance_uid)
        setattr(ds, f"{level}InstanceUID", uid)
    ds.file_meta.MediaStorageSOPClassUID = encoded.sop_class_uid
    ds.file_meta.MediaStorageSOPInstanceUID = encoded.instance_uid
    ds.file_meta.TransferSyntaxUID = encoded.transfer_syntax_uid
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return _after_meta(buffer.getvalue())


def _after_meta(file: bytes) -> bytes:
    """Return what follows the file meta, also where its group length is missing or wrong."""
    if file[128:132] != b"DICM":
        return file
    at = 132
    while file[at : at + 2] == b"\x02\0":
        long = file[at + 4 : at + 6] in {b"OB", b"UN"}
        length = file[at + 8 : at + 12] if long else file[at + 6 : at + 8]
        at += (12 if long else 8) + int.from_bytes(length, "little")
    return file[at:]
