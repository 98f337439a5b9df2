"""A disk that runs short, runs full in the middle of work, and is emptied again."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom.presentation import build_context

from dicom_node.peers import AssociationPolicy, Peer
from dicom_node.scp import Listening, Node
from dicom_node.scu import association
from imaging.errors import SetupError
from imaging.identity import ae_title
from serving.commands.status import status
from serving.health import Health
from serving.metrics import exposition
from tests.dicom_node.rig import (
    OURS,
    Running,
    dataset_of,
    image,
    part10,
    store,
    wait_for,
)
from tests.serving.bench import Bench, mr
from tests.serving.test_operations import complete
from tests.small_disk import SmallDisk, small_disk

MB = 1 << 20
soon = partial(wait_for, seconds=200)
_STUMBLED = re.compile("disk is full|step_waits|no_free_space|worker_fails")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", megabytes=48) as made:
        yield made


@pytest.fixture
def bench(disk: SmallDisk) -> Bench:
    low, least = 24 * MB / 2**30, 12 * MB / 2**30
    return Bench(disk.folder, storage={"low_free_gb": low, "min_free_gb": least})


@pytest.fixture
def running(bench: Bench) -> Iterator[Running]:
    policy = AssociationPolicy(ae_title=OURS, allow_unknown_loopback=True)
    parts = bench.parts
    listening = Listening(host="127.0.0.1", port=0)
    node = Node(parts.ingest, policy, lambda _: None, listening=listening)
    node.start()
    yield Running(node=node, ingest=parts.ingest, index=parts.index, archive=parts.archive)
    node.stop()


def shown(bench: Bench, capsys: pytest.CaptureFixture[str]) -> SimpleNamespace:
    """What an operator sees of the space."""
    capsys.readouterr()
    status(bench.settings)
    figures = exposition(bench.index, bench.parts.archive, bench.journal).decode()
    return SimpleNamespace(
        ready=Health(bench.settings, bench.index, bench.parts.archive).parts()["storage"],
        short=float(figures.split("\nwetread_space_short ")[1].split("\n")[0]),
        status=" ".join(capsys.readouterr().out.split()),
    )


@contextmanager
def restarted_worker(settings: Path, log: Path) -> Iterator[None]:
    """A worker that is started anew when it ends, as its supervisor does."""
    stop = threading.Event()

    def keep_running() -> None:
        command = [sys.executable, "-m", "serving", "--settings", settings, "worker"]
        while not stop.is_set():
            with log.open("ab") as file, subprocess.Popen(command, stderr=file) as worker:
                while worker.poll() is None and not stop.wait(0.2):
                    pass
                worker.terminate()

    thread = threading.Thread(target=keep_running)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_disk_that_runs_short_is_told_to_senders_and_operators(
    running: Running, bench: Bench, disk: SmallDisk, capsys
):
    images = [dcmread(BytesIO(part10(image(number)))) for number in range(6)]
    peer = Peer(name="us", ae_title=OURS, host="127.0.0.1", port=running.port)
    context = build_context(CTImageStorage, ExplicitVRLittleEndian)
    with association(peer, [context], ae_title("PACS")) as opened:
        stored = [opened.send_c_store(images[0]).Status]
        assert shown(bench, capsys).ready == "ok"
        disk.fill(leave_mb=20)
        low = shown(bench, capsys)
        assert (low.ready, low.short) == ("free space is low: new associations are refused", 1.0)
        assert low.ready in low.status
        assert "Temporary Congestion" in running.dcmtk("echoscu").output
        stored.append(opened.send_c_store(images[1]).Status)
        disk.clear()
        disk.fill(leave_mb=8)
        assert shown(bench, capsys).short == 2.0
        stored.append(opened.send_c_store(images[2]).Status)
        disk.clear()
        stored.append(opened.send_c_store(images[2]).Status)  # nothing was restarted
    assert stored == [0x0000, 0x0000, 0xA700, 0x0000]
    assert running.dcmtk("echoscu").code == 0
    assert bench.index.study(images[0].StudyInstanceUID).received == 3


def test_a_disk_that_is_full_to_the_last_byte_loses_nothing_acknowledged(
    disk: SmallDisk,
):
    bench = Bench(disk.folder, storage={"low_free_gb": 0, "min_free_gb": 0})
    acknowledged = []
    for number in range(40):
        if number == 10:
            disk.fill()
        if number == 30:
            disk.clear()
        with suppress(SetupError):
            acknowledged.append(store(bench.parts.ingest, image(number)).record)
    assert 20 <= len(acknowledged) < 40
    for record in acknowledged:
        assert bench.index.instance(record.instance_uid) == record
        assert sha256(dataset_of(bench.parts.archive.read(record.path))).hexdigest() == (
            record.sha256
        )
    assert not list((bench.settings.instances_folder / ".incoming").iterdir())


@pytest.mark.timeout(700)
def test_work_waits_while_the_disk_is_full_and_goes_on_by_itself(disk: SmallDisk, tmp_path: Path):
    settings = tmp_path / "wetread.toml"
    settings.write_text(
        f'data_folder = "{disk.folder / "data"}"\n[storage]\nlow_free_gb = 0\nmin_free_gb = 0\n'
    )
    bench = Bench(disk.folder, storage={"low_free_gb": 0, "min_free_gb": 0})
    bench.install()
    studies = []
    for number in range(6):
        uid = f"1.2.8.{number}"
        study = bench.receive(mr(StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1"))
        complete(bench, study)
        studies.append(study)
    log = tmp_path / "log"
    with restarted_worker(settings, log):
        soon(lambda: any(bench.workitem(study).state == "COMPLETED" for study in studies))
        disk.fill()
        soon(lambda: _STUMBLED.search(log.read_text()))
        assert "CANCELED" not in {bench.workitem(study).state for study in studies}
        disk.clear()
        soon(lambda: {bench.workitem(study).state for study in studies} == {"COMPLETED"})
    for study in studies:
        assert bench.workitem(study).reason_code == ""
        assert set(bench.results(study)) == {"SEG", "SR", "KEY_IMAGE"}
