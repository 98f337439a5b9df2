"""The real node process, with DCMTK's storescu as the sender."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from serving.parts import Parts
from serving.settings import load
from tests.builders import save
from tests.dicom_node.rig import free_port, listens, run, wait_for
from tests.serving.bench import mr

soon = partial(wait_for, seconds=60)
_TOML = """
data_folder = "data"
[node]
port = {port}
[arrival]
quiet_s = 0.5
[[peers]]
name = "scanner"
ae_title = "SCANNER"
host = "127.0.0.1"
port = 1
"""


class NodeProcess:
    """`wetread node`, and what it left in the index."""

    def __init__(self, folder: Path) -> None:
        self.port, self.folder = free_port(), folder
        self.settings = folder / "wetread.toml"
        self.settings.write_text(_TOML.format(port=self.port))
        self.parts = Parts(load(self.settings, {}))
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "serving", "--settings", self.settings, "node"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log)
        soon(lambda: listens(self.port))

    def send(self, *paths: Path, calling: str = "SCANNER") -> Any:
        return run("storescu", "-aet", calling, "-aec", "WETREAD", "127.0.0.1", self.port, *paths)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(20)

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    made = NodeProcess(tmp_path)
    yield made
    made.process.kill()
    made.process.wait()


def test_a_study_is_received_found_complete_and_scheduled(node: NodeProcess, tmp_path: Path):
    assert run("echoscu", "-aet", "SCANNER", "-aec", "WETREAD", "127.0.0.1", node.port).code == 0
    paths = save(mr(), tmp_path / "out")
    assert node.send(*paths, calling="STRANGER").code != 0
    assert node.send(*paths).code == 0
    (study,) = node.parts.index.studies().studies
    assert (study.received, study.sender) == (5, "SCANNER")
    soon(node.parts.journal.workitems)
    (item,) = node.parts.journal.workitems()
    assert (item.state, item.study_uid) == ("SCHEDULED", study.study_uid)
    soon(lambda: node.parts.index.study(study.study_uid).state == "complete")
    assert node.parts.index.study(study.study_uid).completeness == "quiet"

    # The same again: nothing new, nothing scheduled.
    assert node.send(*paths).code == 0
    time.sleep(1)
    assert len(node.parts.journal.workitems()) == 1
    assert node.stop() == 0
    said = (tmp_path / "log").read_text()
    assert "Phyllis" not in said
    assert "PH-1" not in said
    assert all(line["process"] == "node" for line in node.log())
    assert "scheduled" in [line["event"] for line in node.log()]


def test_what_was_answered_with_success_survives_a_kill(node: NodeProcess, tmp_path: Path):
    paths = save(mr(), tmp_path / "out")
    assert node.send(*paths).code == 0
    node.process.kill()
    node.process.wait()
    (study,) = node.parts.index.studies().studies
    assert study.received == 5
    for stored in node.parts.index.instances_of(study.study_uid):
        assert node.parts.archive.file(stored.path).stat().st_size > stored.size
    # What a killed process left half written is removed, but not what another one writes just now.
    incoming = node.parts.settings.instances_folder / ".incoming"
    left, written = incoming / "left", incoming / "written"
    for file in (left, written):
        file.touch()
    os.utime(left, (time.time() - 7200,) * 2)
    node.start()
    soon(node.parts.journal.workitems)
    assert len(node.parts.journal.workitems()) == 1
    assert [file.name for file in incoming.iterdir()] == ["written"]


def test_a_taken_port_is_a_clear_error(node: NodeProcess):
    command = [sys.executable, "-m", "serving", "--settings", node.settings, "node"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert f"wetread: cannot listen on 127.0.0.1:{node.port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_node_leaves_its_start_what_peers_did_and_its_stop_in_the_audit_trail(
    node: NodeProcess, tmp_path: Path
):
    paths = save(mr(), tmp_path / "out")
    assert node.send(*paths, calling="STRANGER").code != 0
    assert node.send(*paths).code == 0
    node.stop()
    verdict = node.parts.audit_chain.verify()
    assert verdict.problems == ()
    events = [record.event for record in node.parts.audit_chain.records()]
    assert events == ["STARTED", "REFUSED", "TRANSFER_BEGUN", "TRANSFERRED", "STOPPED"]
    study = str(mr()[0].StudyInstanceUID)
    assert [record.user for record in node.parts.audit_chain.records(study_uid=study)] == [
        "SCANNER",
        "SCANNER",
    ]
