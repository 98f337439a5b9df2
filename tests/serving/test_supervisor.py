import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving import supervisor
from tests.dicom_node.rig import free_port, wait_for


def processes(settings: Path) -> dict[str, int]:
    """Return the ids of the running processes that were started with this settings file."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().decode().split("\0")
            if str(settings) in words:
                found[words[-2]] = int(folder.name)
    return found


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "wetread.toml"
    ports = f"[node]\nport = {free_port()}\n[web]\nport = {free_port()}\n"
    path.write_text(f'data_folder = "data"\n{ports}')
    return path


@pytest.fixture
def serve(settings: Path, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    started = []

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "serving", "--settings", str(settings), "serve"]
        with (tmp_path / "log").open("wb") as log:
            started.append(subprocess.Popen(command, stderr=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
    for pid in processes(settings).values():
        os.kill(pid, signal.SIGKILL)


def test_processes_are_restarted_and_stopped(serve, settings: Path, tmp_path: Path):
    process = serve()
    wait_for(lambda: len(processes(settings)) == 4, seconds=30)
    assert set(processes(settings)) == {"serve", "node", "worker", "web"}
    first = processes(settings)
    os.kill(first["web"], signal.SIGKILL)
    wait_for(lambda: processes(settings).get("web", first["web"]) != first["web"], seconds=30)
    second = processes(settings)
    assert {name: second[name] for name in ("serve", "node", "worker")} == {
        name: first[name] for name in ("serve", "node", "worker")
    }
    died = [
        json.loads(line)
        for line in (tmp_path / "log").read_text().splitlines()
        if "process_died" in line
    ]
    assert [(d["name"], d["code"], d["restart_in_s"]) for d in died] == [("web", -9, 0.4)]
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert not processes(settings)


def test_nothing_outlives_a_killed_supervisor(serve, settings: Path):
    process = serve()
    wait_for(lambda: len(processes(settings)) == 4, seconds=30)
    process.kill()
    process.wait()
    wait_for(lambda: not processes(settings), seconds=20)


def test_pauses_grow_while_a_process_dies_at_once(tmp_path: Path):
    """The arguments are wrong, so that every process ends as soon as it has started."""
    child = supervisor._Child("node", ["--settings", str(tmp_path / "none.toml")])
    stop, pauses = threading.Event(), []
    deadline = time.monotonic() + 60
    while len(pauses) < 3 and time.monotonic() < deadline:
        child.keep_running()
        if child._pause_s not in pauses:
            pauses.append(child._pause_s)
        stop.wait(0.02)
    child.ask_to_stop()
    child.wait(0)
    assert pauses == [0.2, 0.4, 0.8]
