"""Worker processes on an engine's database, to be started and killed."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from serving.engine import Client
from tests.dicom_node.rig import wait_for

_PROGRAM = Path(__file__).with_name("engine_process.py")
_ROOT = Path(__file__).parents[2]


class Rig:
    """A client, and worker processes that are started and killed."""

    def __init__(self, folder: Path, url: str) -> None:
        self.url = url
        self._notes = folder / "notes"
        self._notes.touch()
        self.client = Client(self.url)
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(
        self, *deadly: str, slot: str = "worker-0", restarts: int = 0
    ) -> subprocess.Popen[bytes]:
        self._processes.append(
            subprocess.Popen(
                [sys.executable, _PROGRAM, self.url, self._notes, slot, str(restarts), *deadly],
                env={"PYTHONPATH": str(_ROOT)},
                start_new_session=True,
            )
        )
        return self._processes[-1]

    def notes(self) -> list[str]:
        return self._notes.read_text().splitlines()

    def ended(self, work_id: str, status: str = "SUCCESS") -> None:
        wait_for(lambda: self.client.find(work_id).status == status, seconds=60)

    def kill(self) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._processes.clear()

    def stop(self) -> None:
        self.kill()
        self.client._client.destroy()
