"""How soon results arrive when a PACS comes back after hours, each proven.

Studies reach a running Wetread while their PACS (Orthanc) is away. With `--speed 240` the pauses of
the deliveries are that much shorter while it is away, so that a day's attempts fit into six
minutes; before the PACS comes back Wetread is restarted with its default settings, and each
delivery waits for its next attempt, minutes away. What is measured is real time from the first
answer of the PACS. At the end every result is looked for in the PACS.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from dicom_node.delivery import send
from dicom_node.peers import Peer
from imaging.errors import SetupError
from imaging.identity import AETitle, derived_uid
from scripts.child_process import ChildProcess
from scripts.loopback import HOST, answers, free_port, get_json
from scripts.orthanc import Orthanc, program
from scripts.pacs import PacsPlan
from serving.records import Delivery

_IMAGES = 3
_HOUR_S = 3600.0
_SETTINGS = """\
data_folder = "data"
[node]
port = {port}
allow_loopback = true
[arrival]
quiet_s = 2
[web]
port = {web_port}
{delivery}
[[peers]]
name = "pacs"
ae_title = "ORTHANC"
host = "127.0.0.1"
port = {pacs_port}
query = true
deliver = true
"""
_FASTER = """\
[delivery]
first_retry_s = {first}
longest_retry_s = {longest}
look_s = {look}
"""


class Site:
    """A PACS that is away, and Wetread."""

    def __init__(self, folder: Path, executable: Path, stops: ExitStack) -> None:
        self._folder, self._executable, self._stops = folder, executable, stops
        self._port, self._web_port = free_port(11112), free_port(8000)
        self._plan = PacsPlan(
            folder=folder / "pacs",
            dicom_port=free_port(4242),
            http_port=free_port(8042),
            forward_to=AETitle("WETREAD"),
            forward_port=self._port,
        )
        self._service: ChildProcess | None = None

    def start_wetread(self, delivery: str = "") -> None:
        """Run Wetread with these delivery settings, instead of the one that runs."""
        if self._service:
            self._service.stop()
        settings = self._folder / "wetread.toml"
        settings.write_text(
            _SETTINGS.format(
                port=self._port,
                web_port=self._web_port,
                pacs_port=self._plan.dicom_port,
                delivery=delivery,
            )
        )
        command = [sys.executable, "-m", "serving", "--settings", str(settings), "serve"]
        self._service = ChildProcess("Wetread", command, log=self._folder / "wetread.log")
        self._stops.callback(self._service.stop)
        self._service.wait_until(lambda: answers(self._web_port, "/readyz"), limit_s=600)

    def start_pacs(self) -> Orthanc:
        """Let the PACS come back; returns as soon as it answers."""
        pacs = Orthanc(self._executable, self._plan)
        self._stops.callback(pacs.stop)
        pacs.wait_until_ready()
        return pacs

    def receive(self, number: int) -> None:
        """Send a small study to Wetread."""
        us = Peer(name="us", ae_title=AETitle("WETREAD"), host=HOST, port=self._port)
        paths = [_image(self._folder / "studies", number, index) for index in range(_IMAGES)]
        outcome = send(us, paths, ae_title=AETitle("MODALITY"))
        if outcome.text:
            raise SetupError(outcome.text)

    def items(self) -> tuple[Delivery, ...]:
        """Return all deliveries."""
        found = get_json(self._web_port, "/api/deliveries", timeout_s=60)
        assert isinstance(found, list)
        return tuple(Delivery.model_validate(each) for each in found)

    def wait(self, until: Callable[[Sequence[Delivery]], bool], *, limit_s: float) -> None:
        """Wait until the deliveries are so."""
        assert self._service
        self._service.wait_until(lambda: until(self.items()), limit_s=limit_s)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 1 when a result is lost, double or late."""
    parser = argparse.ArgumentParser(prog="scripts/bench_pacs_away.py", description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0, help="how long the PACS is away")
    parser.add_argument("--speed", type=float, default=1.0, help="how much faster these pass")
    parser.add_argument("--studies", type=int, default=10)
    chosen = parser.parse_args(arguments)
    executable = program()
    if executable is None:
        msg = "Orthanc is not installed"
        raise SetupError(msg)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stops:
        site = Site(Path(folder), executable, stops)
        faster = _FASTER.format(
            first=2 / chosen.speed, longest=300 / chosen.speed, look=5 / chosen.speed
        )
        site.start_wetread(faster if chosen.speed > 1 else "")
        for number in range(chosen.studies):
            site.receive(number)
        site.wait(lambda items: len(items) == chosen.studies and _tried(items, {}), limit_s=600)
        time.sleep(chosen.hours * _HOUR_S / chosen.speed)
        attempts = {item.delivery_id: item.attempts for item in site.items()}
        if chosen.speed > 1:
            site.start_wetread()
            site.wait(lambda items: _tried(items, attempts), limit_s=600)
        return _return_of_the_pacs(site, chosen.hours, list(attempts.values()))


def _return_of_the_pacs(site: Site, hours: float, attempts: Sequence[int]) -> int:
    waits = [(item.next_attempt_at or 0.0) - time.time() for item in site.items()]
    pacs = site.start_pacs()
    back = time.time()
    site.wait(lambda items: all(item.state == "proven" for item in items), limit_s=600)
    items = site.items()
    took = [(item.proven_at or 0.0) - back for item in items]
    found = [uid for study in {i.study_uid for i in items} for uid in pacs.instances(study)]
    lost = {item.instance_uid for item in items} - set(found)
    double = len(found) - len(set(found))
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"away {hours:g} h, {len(items)} results, {min(attempts)} to {max(attempts)} attempts each;"
        f" next attempt {min(waits):.0f} to {max(waits):.0f} s away when the PACS came back:"
        f" proven after {statistics.median(took):.1f} s (median), {max(took):.1f} s (last);"
        f" {len(lost)} lost, {double} double; load {load}"
    )
    return 1 if lost or double or max(took) > 60 else 0  # noqa: PLR2004 - the promise


def _tried(items: Sequence[Delivery], before: Mapping[str, int]) -> bool:
    """Whether each was tried since it had so many attempts."""
    return all(item.attempts > before.get(item.delivery_id, 0) for item in items)


def _image(folder: Path, study: int, index: int) -> Path:
    ds = Dataset()
    ds.SOPClassUID = CTImageStorage
    ds.StudyInstanceUID = derived_uid("away", str(study))
    ds.SeriesInstanceUID = derived_uid("away", str(study), "series")
    ds.SOPInstanceUID = derived_uid("away", str(study), str(index))
    ds.PatientID, ds.PatientName, ds.Modality = f"AWAY-{study}", "Away^Pacs", "CT"
    ds.SeriesNumber, ds.InstanceNumber = 1, index + 1
    ds.Rows = ds.Columns = 16
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = bytes(512)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    folder.mkdir(exist_ok=True)
    path = folder / f"{study}-{index}.dcm"
    dcmwrite(path, ds, enforce_file_format=True)
    return path


if __name__ == "__main__":
    sys.exit(main())
