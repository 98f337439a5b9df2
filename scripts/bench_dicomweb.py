"""DICOMweb side by side with Orthanc: the same studies, the same client, in turns of blocks.

    python -m scripts.bench_dicomweb [--rounds 30] [--folder DIR]

Ten CT studies of 108 slices of 256 x 256 and two of 300 of 512 x 512; one keep-alive connection to
each server. Prints median, 95th percentile and requests per second of each, and the ratio.
"""

import argparse
import http.client
import itertools
import json
import os
import platform
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from dicom_node.part10 import encoded_of
from imaging.errors import SetupError
from imaging.identity import derived_uid
from scripts.child_process import ChildProcess
from scripts.loopback import HOST, answers, free_port, post_bytes
from scripts.orthanc import PLUGINS, program
from serving.parts import Parts
from serving.settings import Settings

_LITTLE = "multipart/related; type=application/octet-stream; transfer-syntax=*"
_DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_JSON = "application/dicom+json"
_BLOCKS = 3  # of questions to one server, then to the other
_FEW = 5  # rounds of what moves much, or takes Orthanc long
_PERCENTILE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One series of a study, as Part 10 files."""

    study_uid: str
    series_uid: str
    instance_uids: tuple[str, ...]
    files: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked; `paths` are asked for in turn."""

    name: str
    paths: tuple[str, ...]
    accept: str
    rounds: int
    encoding: str = "identity"


class Client:
    """One keep-alive connection without Nagle's algorithm."""

    def __init__(self, port: int, root: str) -> None:
        self._root, self._buffer = root, bytearray(1 << 20)
        self._connection = http.client.HTTPConnection(HOST, port, timeout=120)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, path: str, question: Question) -> tuple[float, int]:
        """Return the seconds until the whole answer is here, and its size."""
        headers = {"Accept": question.accept, "Accept-Encoding": question.encoding}
        began, size = time.perf_counter(), 0
        self._connection.request("GET", self._root + path, headers=headers)
        answer = self._connection.getresponse()
        while count := answer.readinto(self._buffer):
            size += count
        if answer.status != http.client.OK:
            msg = f"HTTP {answer.status} for {path}"
            raise SetupError(msg)
        return time.perf_counter() - began, size


def main(arguments: Sequence[str] | None = None) -> int:
    """Store the studies in both servers, ask both in turns, print what it took."""
    parser = argparse.ArgumentParser(prog="scripts/bench_dicomweb.py", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="of each question in a block")
    parser.add_argument("--folder", type=Path, default=None, help="where the data go for the time")
    options = parser.parse_args(arguments)
    with ExitStack() as stops:
        folder = Path(stops.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
        small = [study(f"small {n}", 108, 256) for n in range(10)]
        large = [study(f"large {n}", 300, 512) for n in range(2)]
        orthanc = Client(orthanc_with([*small, *large], folder, stops), "/dicom-web")
        ours = Client(wetread_with([*small, *large], folder, stops), "/dicomweb")
        load = os.getloadavg()[0]
        print(f"{platform.machine()}, {os.cpu_count()} processors, load {load:.1f} at the start")
        print(_ROW.format("question", "Wetread p50", "p95", "/s", "Orthanc p50", "p95", "/s", "x"))
        for question in _questions(small, large, options.rounds):
            print(_compared(question, ours, orthanc), flush=True)
    return 0


_ROW = "{:<34} {:>12} {:>9} {:>8} {:>12} {:>9} {:>8} {:>7}"


def _questions(small: Sequence[Study], large: Sequence[Study], rounds: int) -> Iterator[Question]:
    few = min(_FEW, rounds)
    series = [f"/studies/{s.study_uid}/series/{s.series_uid}" for s in (*small[:1], *large[:1])]
    yield Question(name="QIDO 12 studies", paths=("/studies",), accept=_JSON, rounds=rounds)
    yield Question(
        name="QIDO series", paths=(series[0].rsplit("/", 1)[0],), accept=_JSON, rounds=rounds
    )
    yield Question(
        name="QIDO 300 instances", paths=(f"{series[1]}/instances",), accept=_JSON, rounds=few
    )
    for name, path in zip(("108", "300"), series, strict=True):
        for encoding in ("identity", "gzip"):
            yield Question(
                name=f"metadata of {name}, {encoding}",
                paths=(f"{path}/metadata",),
                accept=_JSON,
                rounds=few,
                encoding=encoding,
            )
    frames = tuple(f"{series[1]}/instances/{uid}/frames/1" for uid in large[0].instance_uids)
    yield Question(name="frame of 512 KB", paths=frames, accept=_LITTLE, rounds=rounds)
    whole = (f"/studies/{large[0].study_uid}",)
    yield Question(name="study of 158 MB", paths=whole, accept=_DICOM, rounds=few)


def _compared(question: Question, ours: Client, theirs: Client) -> str:
    times: dict[Client, list[float]] = {ours: [], theirs: []}
    for client in (ours, theirs) * _BLOCKS:
        times[client] += _block(question, client)
    figures = [text for each in times.values() for text in _figures(each)]
    ratio = statistics.median(times[theirs]) / statistics.median(times[ours])
    return _ROW.format(question.name, *figures, f"{ratio:.1f}")


def _block(question: Question, client: Client) -> list[float]:
    """Return the seconds of each answer but the first, which may have to be made."""
    paths = itertools.cycle(question.paths)
    return [client.ask(next(paths), question)[0] for _ in range(question.rounds + 1)][1:]


def _figures(seconds: Sequence[float]) -> tuple[str, str, str]:
    ordered = sorted(seconds)
    late = ordered[min(len(ordered) - 1, int(len(ordered) * _PERCENTILE))]
    rate = len(seconds) / sum(seconds)
    return f"{statistics.median(seconds) * 1e3:.2f} ms", f"{late * 1e3:.2f}", f"{rate:.0f}"


def orthanc_with(studies: Sequence[Study], folder: Path, stops: ExitStack) -> int:
    """Start Orthanc with studies; return its port, where DICOMweb is under /dicom-web."""
    executable = program()
    if executable is None:
        msg = "Orthanc is not installed"
        raise SetupError(msg)
    port = free_port(8042)
    data = folder / "orthanc"
    data.mkdir()
    settings = {
        "StorageDirectory": str(data),
        "IndexDirectory": str(data),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "KeepAlive": True,
        "TcpNoDelay": True,
        "Plugins": [str(path) for path in PLUGINS if path.exists()][:1],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    orthanc = ChildProcess(
        "Orthanc",
        [str(executable), str(folder / "orthanc.json")],
        log=folder / "orthanc.log",
        environment={"TCP_NODELAY": "1"},
    )
    stops.callback(orthanc.stop)
    orthanc.wait_until(lambda: answers(port, "/system"), limit_s=60)
    for each in studies:
        for file in each.files:
            post_bytes(port, "/instances", file)
    return port


def wetread_with(studies: Sequence[Study], folder: Path, stops: ExitStack) -> int:
    """Start Wetread's web process with studies in `folder`/wetread; return its port."""
    port, data = free_port(8000), folder / "wetread"
    parts = Parts(Settings(data_folder=data))
    for each in studies:
        for file in each.files:
            encoded = encoded_of(file)
            parts.ingest.store(
                encoded.dataset,
                sop_class_uid=encoded.sop_class_uid,
                instance_uid=encoded.instance_uid,
                transfer_syntax_uid=encoded.transfer_syntax_uid,
                calling_ae="BENCH",
                address=HOST,
            )
    parts.index.engine.dispose()
    environment: Mapping[str, str] = {
        "WETREAD_DATA_FOLDER": str(data),
        "WETREAD_WEB__PORT": str(port),
        "WETREAD_LOG__LEVEL": "warning",
    }
    command = [sys.executable, "-m", "serving", "web"]
    web = ChildProcess("web", command, log=folder / "web.log", environment=environment)
    stops.callback(web.stop)
    web.wait_until(lambda: answers(port, "/healthz"), limit_s=60)
    return port


def study(name: str, slices: int, size: int) -> Study:
    """Return a CT study with noise for pixels."""
    random = np.random.default_rng(len(name) + slices)
    pixels = random.integers(0, 4096, (size, size), np.uint16)
    images = [_slice(name, number, size) for number in range(slices)]
    for number, ds in enumerate(images):
        ds.PixelData = np.roll(pixels, number).tobytes()
    return Study(
        study_uid=str(images[0].StudyInstanceUID),
        series_uid=str(images[0].SeriesInstanceUID),
        instance_uids=tuple(str(ds.SOPInstanceUID) for ds in images),
        files=tuple(_file(ds) for ds in images),
    )


def _slice(name: str, number: int, size: int) -> Dataset:
    ds = Dataset()
    for keyword, value in _HEADER.items():
        setattr(ds, keyword, value)
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "CTHEAD", "99BENCH", "CT head"
    ds.ProcedureCodeSequence, ds.RequestedProcedureCodeSequence = [code], [code]
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, derived_uid("bench", name, str(number))
    ds.StudyInstanceUID, ds.SeriesInstanceUID = derived_uid("bench", name), derived_uid(name, "1")
    ds.FrameOfReferenceUID = derived_uid(name, "frame")
    ds.PatientID, ds.PatientName, ds.InstanceNumber = name, f"Bench^{name}", number + 1
    ds.ImagePositionPatient = [-125.0, -125.0, 1.5 * number]
    ds.SliceLocation = 1.5 * number
    ds.Rows = ds.Columns = size
    ds.private_block(0x0029, "BENCH", create=True).add_new(1, "OB", bytes(2048))
    return ds


def _file(ds: Dataset) -> bytes:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(ExplicitVRLittleEndian)
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


_HEADER: Mapping[str, object] = {
    **dict.fromkeys(("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"), "20260102"),
    **dict.fromkeys(("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime"), "101500.25"),
    **dict.fromkeys(
        ("Manufacturer", "InstitutionName", "StationName", "ManufacturerModelName", "ProtocolName",
         "InstitutionAddress", "InstitutionalDepartmentName", "StudyDescription", "FilterType",
         "SeriesDescription", "DeviceSerialNumber", "SoftwareVersions", "ConvolutionKernel",
         "AccessionNumber", "StudyID", "AdmittingDiagnosesDescription", "PatientComments",
         "RequestingService", "RequestedProcedureDescription", "PerformedProcedureStepID",
         "PerformedProcedureStepDescription", "RequestedProcedureID", "PositionReferenceIndicator"),
        "BENCH",
    ),
    **dict.fromkeys(("ReferringPhysicianName", "OperatorsName", "PerformingPhysicianName"), "B^C"),
    **dict.fromkeys(
        ("SliceThickness", "KVP", "DataCollectionDiameter", "ReconstructionDiameter",
         "DistanceSourceToDetector", "DistanceSourceToPatient", "GantryDetectorTilt", "TableHeight",
         "FocalSpots", "SingleCollimationWidth", "TotalCollimationWidth", "TableSpeed",
         "SpiralPitchFactor", "WindowCenter", "WindowWidth", "RescaleSlope", "PatientWeight"),
        1.5,
    ),
    **dict.fromkeys(("ExposureTime", "XRayTubeCurrent", "Exposure", "GeneratorPower"), 100),
    **dict.fromkeys(("SeriesNumber", "AcquisitionNumber"), 1),
    "SpecificCharacterSet": "ISO_IR 100",
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "Modality": "CT",
    "PatientBirthDate": "19700101",
    "PatientSex": "O",
    "PatientAge": "054Y",
    "BodyPartExamined": "HEAD",
    "PatientPosition": "HFS",
    "RescaleIntercept": -1024,
    "RescaleType": "HU",
    "PixelSpacing": [0.49, 0.49],
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "PerformedProcedureStepStartDate": "20260102",
    "PerformedProcedureStepStartTime": "101500",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
