"""A site on this machine: a real PACS that forwards to a running Wetread."""

import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imaging.errors import SetupError
from imaging.identity import AETitle
from models.catalog import install
from models.registry import Registry
from scripts.child_process import ChildProcess
from scripts.demo_studies import DemoStudy, ct_study, mr_study
from scripts.loopback import HOST, free_port
from scripts.orthanc import Orthanc, program
from scripts.pacs import PacsPlan

_MR_FILE = Path("/usr/share/mricron/templates/ch2.nii.gz")
_CT_FILE = Path("/usr/share/doc/invesalius-examples/examples/Cranium.inv3")
_SETTINGS = """
data_folder = "data"
[node]
port = {port}
allow_loopback = true
[arrival]
quiet_s = 3
[web]
port = {web_port}
[delivery]
first_retry_s = 0.5
longest_retry_s = 2
[[peers]]
name = "pacs"
ae_title = "ORTHANC"
host = "127.0.0.1"
port = {pacs_port}
query = true
deliver = true
"""


class Site:
    """Orthanc and `wetread serve`, with the processes to kill."""

    def __init__(self, folder: Path, models: Path) -> None:
        executable = program()
        assert executable is not None
        self.port, self.web_port = free_port(0), free_port(0)
        self._plan = PacsPlan(
            folder=folder / "pacs",
            dicom_port=free_port(0),
            http_port=free_port(0),
            forward_to=AETitle("WETREAD"),
            forward_port=self.port,
        )
        self._executable, self._folder = executable, folder
        (folder / "data").mkdir()
        (folder / "data" / "models").symlink_to(models)
        self.settings = folder / "wetread.toml"
        self.settings.write_text(
            _SETTINGS.format(
                port=self.port, web_port=self.web_port, pacs_port=self._plan.dicom_port
            )
        )
        self.start_pacs()
        self.start_wetread()

    def start_pacs(self) -> None:
        self.pacs = Orthanc(self._executable, self._plan)
        self.pacs.wait_until_ready()

    def start_wetread(self) -> None:
        command = [sys.executable, "-m", "serving", "--settings", str(self.settings), "serve"]
        self.wetread = ChildProcess("Wetread", command, log=self._folder / "wetread.log")
        self.wetread.wait_until(self.ready, limit_s=60)

    def ready(self) -> bool:
        try:
            return set(self.get("/readyz").values()) == {"ok"}
        except OSError:
            return False

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{HOST}:{self.web_port}{path}", timeout=10) as answer:
            return json.load(answer)

    def post(self, path: str) -> Any:
        request = urllib.request.Request(f"http://{HOST}:{self.web_port}{path}", method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def study(self, study_uid: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self.get(f"/api/studies/{study_uid}")
        except OSError:  # not received yet, or the web process was killed
            return {"state": "away", "workitems": [], "results": [], "deliveries": []}
        return found

    def wait(self, study_uid: str, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        limit = time.monotonic() + 120
        while not until(study := self.study(study_uid)):
            self.wetread.require_running()
            assert time.monotonic() < limit, f"state {study['state']}: {self._log_tail()}"
            time.sleep(0.05)
        return study

    def kill(self, name: str) -> None:
        """Send SIGKILL to the process `name` of the running service."""
        os.kill(self._pid(name), signal.SIGKILL)

    def _pid(self, name: str) -> int:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if str(self.settings) in words and words[-2:] == [name, ""]:
                return int(folder.name)
        msg = f"{name} does not run"
        raise SetupError(msg)

    def stop(self) -> None:
        self.wetread.stop()
        self.pacs.stop()

    def _log_tail(self) -> str:
        return (self._folder / "wetread.log").read_text()[-3000:]


@pytest.fixture(scope="session")
def installed_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    cache = tmp_path_factory.mktemp("wheels")
    try:
        for name in ("brain-extraction", "brain-tumour-class"):
            install(name, Registry(folder), cache)
    except SetupError as error:
        pytest.skip(f"the pretrained models cannot be fetched: {error}")
    return folder


@pytest.fixture
def site(tmp_path: Path, installed_models: Path) -> Iterator[Site]:
    if program() is None:
        pytest.skip("Orthanc is not installed")
    running = Site(tmp_path, installed_models)
    yield running
    running.stop()


def _demo_study(make: Callable[[Path, Path], DemoStudy], file: Path, folder: Path) -> DemoStudy:
    if not file.exists():
        pytest.skip(f"{file} is not installed")
    return make(file, folder)


@pytest.fixture(scope="session")
def mr(tmp_path_factory: pytest.TempPathFactory) -> DemoStudy:
    return _demo_study(mr_study, _MR_FILE, tmp_path_factory.mktemp("mr"))


@pytest.fixture(scope="session")
def ct(tmp_path_factory: pytest.TempPathFactory) -> DemoStudy:
    return _demo_study(ct_study, _CT_FILE, tmp_path_factory.mktemp("ct"))
