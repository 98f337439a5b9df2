"""A running Wetread, and what the loop asks of it by command, DICOM and REST."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dicom_node.delivery import send
from dicom_node.peers import Peer
from imaging.errors import SetupError
from imaging.identity import AETitle
from scripts.child_process import ChildProcess
from scripts.loop.phantoms import Phantom
from scripts.loopback import HOST, HttpError, answers, free_port, get_bytes, get_json, post_bytes
from scripts.loopback import post_json as post
from serving.study_view import StudyDetail

MODEL = "nodule"
_SETTINGS = """\
data_folder = "data"
[node]
port = {port}
allow_loopback = true
[arrival]
quiet_s = 1
[web]
port = {web_port}
[promotion]
patients = {patients}
group_patients = {patients}
"""
_LIMIT_S = 120.0
_DICOM = 'multipart/related; type="application/dicom"'
_BOUNDARY = "phantom-boundary"


class Site:
    """Wetread without a PACS: it receives, analyses and is asked; `stop` ends it."""

    def __init__(self, folder: Path, *, test_patients: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.settings, self.web_port, port = folder / "wetread.toml", free_port(0), free_port(0)
        text = _SETTINGS.format(port=port, web_port=self.web_port, patients=test_patients)
        self.settings.write_text(text)
        self._peer = Peer(name="wetread", ae_title=AETitle("WETREAD"), host=HOST, port=port)
        self._log = folder / "wetread.log"
        self._service: ChildProcess | None = None

    def start(self) -> None:
        """Start the service; returns when it takes images."""
        command = [sys.executable, "-m", "serving", "--settings", str(self.settings), "serve"]
        self._service = service = ChildProcess("Wetread", command, log=self._log)
        service.wait_until(lambda: answers(self.web_port, "/readyz"), limit_s=_LIMIT_S)

    def stop(self) -> None:
        """End the service, if it runs."""
        if self._service:
            self._service.stop()

    def models(self, *words: str) -> str:
        """Run ``wetread models`` and return what it prints."""
        return run("-m", "serving", "--settings", str(self.settings), "models", *words)

    def add(self, package: Path, *words: str) -> str:
        """Add a package; return its digest as far as it is shown."""
        said = re.sub(r"\s+", " ", self.models("add", str(package), *words))
        found = re.search(r"[0-9a-f]{12,}", said)
        if not found:
            msg = f"no digest in: {said}"
            raise SetupError(msg)
        return found[0]

    def analysed(self, phantoms: Sequence[Phantom]) -> list[StudyDetail]:
        """Send studies by C-STORE and return them once their results are there."""
        for each in phantoms:
            send(self._peer, each.study.paths, ae_title=AETitle("PHANTOM"))
        return [self.until(each, lambda study: study.state == "done") for each in phantoms]

    def until(self, phantom: Phantom, holds: Callable[[StudyDetail], bool]) -> StudyDetail:
        """Return a study when it is as wanted.

        Raises
        ------
        SetupError
            It never is.
        """
        end, detail = time.monotonic() + _LIMIT_S, None
        while time.monotonic() < end:
            try:
                path = f"/api/studies/{phantom.study.study_uid}"
                detail = StudyDetail.model_validate(get_json(self.web_port, path))
            except HttpError:  # not received yet
                pass
            if detail and holds(detail):
                return detail
            time.sleep(0.2)
        msg = f"a study is still {detail.state if detail else 'unknown'} after {_LIMIT_S:.0f} s"
        raise SetupError(msg)

    def result(self, study: StudyDetail, kind: str) -> bytes:
        """Return the newest result of a kind, a Part 10 file, by WADO-RS."""
        wanted = [r for r in study.results if r.kind == kind]
        if not wanted:
            msg = f"a study has no {kind}"
            raise SetupError(msg)
        uid = wanted[-1].instance_uid
        series = get_json(self.web_port, f"/dicomweb/studies/{study.study_uid}/instances"
                          f"?SOPInstanceUID={uid}")  # fmt: skip
        assert isinstance(series, list)
        series_uid = series[0]["0020000E"]["Value"][0]
        path = f"/dicomweb/studies/{study.study_uid}/series/{series_uid}/instances/{uid}"
        body = get_bytes(self.web_port, path, accept=_DICOM)
        boundary = body.lstrip().split(b"\r\n", 1)[0]
        return body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n" + boundary, 1)[0]

    def accept(self, study: StudyDetail) -> None:
        """Accept all findings of a study."""
        post(self.web_port, f"/api/studies/{study.study_uid}/assessments", {"verdict": "accepted"})

    def store(self, study: StudyDetail, part10: bytes) -> None:
        """Store what a reader drew, by STOW-RS."""
        head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = head + part10 + f"\r\n--{_BOUNDARY}--\r\n".encode()
        kind = f"{_DICOM}; boundary={_BOUNDARY}"
        post_bytes(self.web_port, f"/dicomweb/studies/{study.study_uid}", body, content_type=kind)

    def compared(self) -> int:
        """Return in how many studies the version in the shadow was compared with the served one."""
        found = get_json(self.web_port, f"/api/models/{MODEL}/comparison")
        assert isinstance(found, list)
        return int(found[0]["compared"])


def run(*words: str, refused: bool = False) -> str:
    """Run a Python command and return what it prints; with `refused` it has to end with 1.

    Raises
    ------
    SetupError
        It ends otherwise.
    """
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    if done.returncode != int(refused):
        msg = f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        raise SetupError(msg)
    return done.stdout + done.stderr
