"""Memory of the listener under many associations, and of an analyser under studies of many slices.

    python -m scripts.bench_memory [--associations 64] [--slices 1000 2000 4000] [--size 256]

Prints resident memory before, at its peak and after; for studies also the time to receive, to plan
and to read. DCMTK's storescu sends; each association brings instances of 0.5 MB of its own.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from imaging.identity import derived_uid
from scripts.loopback import HOST, free_port
from serving.analyser_process import AnalyserProcess
from serving.parts import Parts
from serving.settings import Settings
from serving.tickets import StudyTicket

_MIB = 1 << 20
_LIMIT_S = 3000.0


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--associations", type=int, default=64)
    parser.add_argument("--instances", type=int, default=8, help="for each association")
    parser.add_argument("--slices", type=int, nargs="*", default=[1000, 2000, 4000])
    parser.add_argument("--size", type=int, default=256, help="rows and columns of the slices")
    parser.add_argument("--models", type=Path, help="folder of installed models that read CT")
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        if options.associations:
            _listener(Path(folder), options.associations, options.instances)
    for slices in options.slices:
        with tempfile.TemporaryDirectory() as folder:
            _study(Path(folder), slices, options.size, models=options.models)
    return 0


def _listener(folder: Path, associations: int, instances: int) -> None:
    port = free_port(0)
    settings = folder / "wetread.toml"
    settings.write_text(
        f'data_folder = "data"\n[node]\nport = {port}\nallow_loopback = true\n[storage]\n'
        "low_free_gb = 0\nmin_free_gb = 0\n"
    )
    sent = [folder / f"sender-{number}" for number in range(associations)]
    for number, outbox in enumerate(sent):
        outbox.mkdir()
        for index in range(instances):
            _save(outbox / str(index), _slice(f"sender {number}", index, 512))
    command = [sys.executable, "-m", "serving", "--settings", str(settings), "node"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as node:
        while subprocess.run(
            ["echoscu", "-aec", "WETREAD", HOST, str(port)], capture_output=True, check=False
        ).returncode:
            time.sleep(0.2)
        before = _resident(node.pid)
        begun = time.monotonic()
        with _peak(node.pid) as peak:
            senders = [_sender(outbox, port) for outbox in sent]
            failed = sum(sender.wait() != 0 for sender in senders)
        seconds = time.monotonic() - begun
        total = associations * instances
        print(
            f"listener, {associations} associations of {instances} x 0.5 MB at once: "
            f"{before} MiB before, {peak()} MiB at most, {_resident(node.pid)} MiB after; "
            f"{total} instances in {seconds:.1f} s, {failed} senders failed"
        )
        node.terminate()


def _sender(outbox: Path, port: int) -> subprocess.Popen[bytes]:
    titles = ["-aet", outbox.name.upper(), "-aec", "WETREAD"]
    command = ["storescu", *titles, "+sd", HOST, str(port), str(outbox)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _study(folder: Path, slices: int, size: int, *, models: Path | None) -> None:
    settings = Settings(data_folder=folder / "data")
    if models:
        settings.data_folder.mkdir(parents=True)
        settings.models_folder.symlink_to(models.resolve())
    parts = Parts(settings)
    begun = time.monotonic()
    for index in range(slices):
        _store(parts, _slice("study", index, size))
    received_s = time.monotonic() - begun
    study_uid = derived_uid("study")
    digest = parts.index.content_digest(study_uid)
    ticket = StudyTicket(
        workitem_uid=f"{study_uid}-bench",
        study_uid=study_uid,
        content_digest=digest,
        completeness="confirmed",
        arrival_text="",
        short={},
    )
    parts.journal.schedule(
        ticket["workitem_uid"], study_uid=study_uid, content_digest=digest, priority=5
    )
    analyser = AnalyserProcess(settings, lambda: None)
    analyser.wait_until_ready()
    before = _resident(analyser.pid)
    begun = time.monotonic()
    with _peak(analyser.pid) as peak:
        plan = analyser.ask(study_uid, "plan", ticket, limit_s=_LIMIT_S).value
    planned_s, planned = time.monotonic() - begun, peak()
    begun = time.monotonic()
    with _peak(analyser.pid) as peak:
        for assignment in plan["assignments"]:
            analyser.ask(study_uid, "read", assignment, limit_s=_LIMIT_S)
    reasons = ", ".join(item.reason_code for item in parts.journal.workitems()) or "none"
    print(
        f"study of {slices} x {size} x {size}: received in {received_s:.1f} s; analyser "
        f"{before} MiB before, {planned} MiB planning ({planned_s:.1f} s), {peak()} MiB reading "
        f"({time.monotonic() - begun:.1f} s); {len(plan['assignments'])} models, reason {reasons}"
    )
    analyser.kill()


def _store(parts: Parts, ds: Dataset) -> None:
    path = parts.settings.data_folder / "one.dcm"
    _save(path, ds)
    file = path.read_bytes()
    start = 144 + int.from_bytes(file[140:144], "little")
    parts.ingest.store(
        file[start:],
        sop_class_uid=ds.SOPClassUID,
        instance_uid=ds.SOPInstanceUID,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        calling_ae="BENCH",
        address=HOST,
    )


def _slice(study: str, index: int, size: int) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.Modality = CTImageStorage, "CT"
    ds.SOPInstanceUID = derived_uid(study, str(index))
    ds.StudyInstanceUID, ds.SeriesInstanceUID = derived_uid(study), derived_uid(study, "series")
    ds.FrameOfReferenceUID = derived_uid(study, "frame")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.PatientName, ds.PatientID, ds.SeriesNumber = "Bench", "BENCH", 1
    ds.InstanceNumber, ds.AcquisitionNumber = index + 1, 1
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, index / 2]
    ds.PixelSpacing, ds.SliceThickness = [0.7, 0.7], 0.5
    ds.Rows = ds.Columns = size
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
    ds.PixelData = np.full((size, size), 1000 + index % 100, np.uint16).tobytes()
    return ds


def _save(path: Path, ds: Dataset) -> None:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(path, ds, enforce_file_format=True)


def _resident(pid: int) -> int:
    """Resident memory in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // _MIB


@contextmanager
def _peak(pid: int) -> Iterator[Callable[[], int]]:
    """Give what tells the largest resident memory since, looked at every 20 ms."""
    most, over = [_resident(pid)], threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            most[0] = max(most[0], _resident(pid))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield lambda: most[0]
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
