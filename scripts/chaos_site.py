"""The site of the chaos run: a PACS, a database server perhaps, and Wetread's processes."""

import base64
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from imaging.errors import SetupError
from imaging.identity import AETitle
from models.registry import Registry
from scripts.chaos_listener import Listener
from scripts.chaos_studies import write_package
from scripts.loopback import HOST, answers, free_port
from scripts.orthanc import Orthanc, program
from scripts.pacs import PacsPlan
from scripts.postgres import Postgres
from serving.parts import Parts
from serving.settings import Settings, load

OURS = AETitle("WETREAD")
WORKERS = ("worker-0", "worker-1")
LISTENER = "listener"
_PROCESSES = ("node", "web", *WORKERS)
_READY_S = 120.0
_RESTART_S = 1.0
_SETTINGS = """\
data_folder = "data"
{database}
[node]
port = {port}
allow_loopback = true
[arrival]
quiet_s = 3
[web]
port = {web_port}
[storage]
min_free_gb = 0.2
[delivery]
first_retry_s = 0.5
longest_retry_s = 10
look_s = 2
[[peers]]
name = "pacs"
ae_title = "{pacs}"
host = "127.0.0.1"
port = {pacs_port}
query = true
deliver = true
[[notify]]
name = "{listener}"
kind = "webhook"
url = "http://127.0.0.1:{listener_port}/"
secret = "whsec_{secret}"
"""


class _Process:
    """A child of the nursery: it can be killed, and it is seen when it ends by itself."""

    def __init__(self, pid: int) -> None:
        self._handle = os.pidfd_open(pid)

    def is_alive(self) -> bool:
        return not select.select([self._handle], [], [], 0)[0]

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, number)

    def wait(self, limit_s: float) -> None:
        select.select([self._handle], [], [], limit_s)


class Site:
    """Everything that is killed, by name; `ended` counts what ended without being told to."""

    def __init__(self, folder: Path, senders: tuple[AETitle, ...], *, postgresql: bool) -> None:
        self.folder, self.ended = folder, Counter[str]()
        self.port, self.web_port = free_port(0), free_port(0)
        self._plan = PacsPlan(
            folder=folder / "pacs",
            dicom_port=free_port(0),
            http_port=free_port(0),
            forward_to=OURS,
            forward_port=self.port,
            senders=senders,
        )
        self.listener = Listener()
        self._database = Postgres(folder / "postgresql") if postgresql else None
        self._write_settings()
        Registry(self.settings.models_folder).add(write_package(folder / "package"))
        self._running: dict[str, _Process | None] = dict.fromkeys(_PROCESSES)
        self._not_before: dict[str, float] = {}
        self._pacs_runs = self._database_runs = True
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "scripts.chaos_nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.start("pacs")
        for name in _PROCESSES:
            self.start(name)
        self._wait_until_ready()

    @cached_property
    def settings(self) -> Settings:
        """Wetread's settings."""
        return load(self._file, {})

    @cached_property
    def parts(self) -> Parts:
        """Wetread's parts, to look at its rows and files."""
        return Parts(self.settings)

    @property
    def names(self) -> tuple[str, ...]:
        """What may be killed."""
        return (*_PROCESSES, "pacs", *(("database",) if self._database else ()))

    def start(self, name: str) -> None:
        """Start what is not running."""
        if name == "pacs":
            executable = program()
            if executable is None:
                msg = "Orthanc is not installed"
                raise SetupError(msg)
            self.pacs = Orthanc(executable, self._plan)
            self.pacs.wait_until_ready()
            self._pacs_runs = True
        elif name == "database":
            assert self._database is not None
            self._database.start()
            self._database_runs = True
        elif not self.runs(name):
            self._running[name] = self._fork(name)

    def kill(self, name: str) -> None:
        """Send SIGKILL."""
        if name == "pacs":
            self.pacs.kill()
            self._pacs_runs = False
        elif name == "database":
            assert self._database is not None
            self._database.kill()
            self._database_runs = False
        elif process := self._running[name]:
            process.send(signal.SIGKILL)
            process.wait(10.0)
            self._running[name] = None

    def runs(self, name: str) -> bool:
        """Whether it runs, as far as this site has not killed it."""
        if name in {"pacs", "database"}:
            return self._pacs_runs if name == "pacs" else self._database_runs
        process = self._running[name]
        return process is not None and process.is_alive()

    def start_what_ended(self) -> None:
        """Start again what ended by itself, as a service manager does."""
        now = time.monotonic()
        for name, process in self._running.items():
            if process is None or process.is_alive() or now < self._not_before.get(name, 0.0):
                continue
            self.ended[name] += 1
            self._not_before[name] = now + _RESTART_S
            self.start(name)

    def stop(self) -> None:
        """End everything."""
        for process in self._running.values():
            if process is not None:
                process.send(signal.SIGTERM)
        for process in self._running.values():
            if process is not None:
                process.wait(10.0)
        self.listener.stop()
        self._nursery.kill()
        self._nursery.wait()
        if self._pacs_runs:
            self.pacs.stop()
        if self._database:
            self._database.stop()

    @property
    def _file(self) -> Path:
        return self.folder / "wetread.toml"

    def _write_settings(self) -> None:
        url = self._database.new_database("chaos") if self._database else ""
        text = _SETTINGS.format(
            database=f'database_url = "{url}"',
            port=self.port,
            web_port=self.web_port,
            pacs=Orthanc.ae_title,
            pacs_port=self._plan.dicom_port,
            listener=LISTENER,
            listener_port=self.listener.port,
            secret=base64.b64encode(bytes(32)).decode(),
        )
        self._file.write_text(text, encoding="utf-8")

    def _fork(self, name: str) -> _Process:
        words = ["worker", "--slot", name] if name in WORKERS else [name]
        request = {
            "log": str(self.folder / f"{name}.log"),
            "arguments": ["--settings", str(self._file), *words],
        }
        assert self._nursery.stdin
        assert self._nursery.stdout
        self._nursery.stdin.write(json.dumps(request) + "\n")
        self._nursery.stdin.flush()
        return _Process(int(self._nursery.stdout.readline()))

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_S
        while not answers(self.web_port, "/readyz"):
            if time.monotonic() > deadline:
                msg = f"Wetread is not ready on {HOST}; see {self.folder}"
                raise SetupError(msg)
            time.sleep(0.2)
