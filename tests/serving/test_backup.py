"""Backups of an installation at work, and what goes on from them elsewhere."""

import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pytest

from imaging.errors import SetupError
from imaging.identity import AETitle
from scripts.pacs import PacsPlan
from scripts.receiver import Receiver
from serving import backup as backup_module
from serving.__main__ import main
from serving.backup import backups_in, make_backup, problems_of, restore
from serving.settings import Settings, load
from serving.slots import RETENTION_SLOT, FileSlots, StillHeld
from tests.dicom_node.rig import free_port, wait_for
from tests.serving.bench import Bench, mr
from tests.serving.test_operations import complete

soon = partial(wait_for, seconds=200)
_TOML = """
data_folder = "data"
{database}
[delivery]
first_retry_s = 0.2
longest_retry_s = 0.5
look_s = 0.2
identity = "ignore"
[[peers]]
name = "pacs"
ae_title = "RECEIVER"
host = "127.0.0.1"
port = {port}
query = true
deliver = true
"""


class Place:
    """An installation of its own, with its database and perhaps a worker."""

    def __init__(self, folder: Path, port: int, database_url: str) -> None:
        self._folder, self._workers = folder, []
        folder.mkdir()
        text = _TOML.format(port=port, database=f'database_url = "{database_url}"')
        (folder / "wetread.toml").write_text(text)
        self.settings = load(folder / "wetread.toml", {})

    @cached_property
    def bench(self) -> Bench:
        """Its parts."""
        settings = self.settings
        return Bench(self._folder, peers=settings.peers, database_url=settings.database_url)

    def start_worker(self) -> None:
        file = self._folder / "wetread.toml"
        command = [sys.executable, "-m", "serving", "--settings", str(file), "worker"]
        with (self._folder / "log").open("ab") as log:
            self._workers.append(subprocess.Popen(command, stderr=log))

    def kill_worker(self) -> None:
        for worker in self._workers:
            worker.kill()
            worker.wait()

    def stop(self) -> None:
        self.kill_worker()
        self.bench.parts.client._client.destroy()
        self.bench.index.engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Place, Place]]:
    """Two installations that deliver to the same port."""
    port, made = free_port(), []
    for name in ("first", "second"):
        url = ""
        if request.param == "postgresql":
            server = request.getfixturevalue("postgresql_server")
            url = server.new_database(f"{name}{time.monotonic_ns()}")
        made.append(Place(tmp_path / name, port, url))
    yield made[0], made[1]
    for place in made:
        place.stop()


def images(number: int) -> list[Any]:
    uid = f"1.2.3.{number}"
    return mr(StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("places", ["sqlite"], indirect=True)
def test_work_in_flight_goes_on_from_a_backup(places: tuple[Place, Place], tmp_path: Path):
    """Results that wait for a PACS that is away, and studies at every stage."""
    first, second = places
    bench = first.bench
    bench.install()
    first.start_worker()
    waiting = bench.receive(images(1))
    complete(bench, waiting)
    soon(lambda: len([d for d in bench.journal.deliveries() if d.attempts]) == 3)
    begun = [bench.receive(images(number)) for number in range(2, 4)]
    for study in begun:
        complete(bench, study)
    arriving = bench.receive(images(4)[:2])
    backup, note = make_backup(first.settings, tmp_path / "backups", time.time())
    first.kill_worker()
    assert note.instances == note.copied >= 3 * 5 + 2 + 3
    assert problems_of(backup) == ()

    restore(second.settings, backup)
    (peer,) = second.settings.peers
    plan = PacsPlan(
        folder=tmp_path / "pacs",
        dicom_port=peer.port,
        http_port=1,
        forward_to=AETitle("NOBODY"),
        forward_port=1,
    )
    pacs, after = Receiver(plan), second.bench
    second.start_worker()
    studies = (waiting, *begun)
    soon(lambda: Counter(d.state for d in after.journal.deliveries()) == {"proven": 9})
    # The last step of an analysis comes after its results, which may be there sooner.
    soon(lambda: {item.state for item in after.journal.workitems()} == {"COMPLETED"})
    for study in studies:
        results = {result.instance_uid for result in after.journal.results(study_uid=study)}
        assert len(results) == 3
        assert pacs.instances(study) == results
    assert after.index.study(arriving).state == "receiving"
    pacs.stop()


def test_what_is_scheduled_meanwhile_is_in_both_databases_or_in_none(
    places: tuple[Place, Place], tmp_path: Path
):
    """Else a study would count as complete, and nobody would ever analyse it."""
    bench, stop = places[0].bench, threading.Event()
    assert bench.parts.client.busy_slots() == frozenset()  # what is not there yet is made first
    studies: list[str] = []

    def schedule() -> None:
        while not stop.is_set():
            studies.append(bench.receive(images(len(studies) + 1)[:1]))
            complete(bench, studies[-1])

    thread = threading.Thread(target=schedule)
    thread.start()
    try:
        seen = 0
        while seen < 3:
            assert thread.is_alive()
            before = len(studies)
            backup, _ = make_backup(places[0].settings, tmp_path / "backups", time.time())
            seen += len(studies) > before  # something was written meanwhile
            assert problems_of(backup) == ()
    finally:
        stop.set()
        thread.join()
    restore(places[1].settings, backups_in(tmp_path / "backups")[-1])
    after = places[1].bench
    closed = after.index.studies(limit=1000).studies
    closed = [study for study in closed if study.state == "complete"]
    assert closed
    for study in closed:
        assert after.parts.client.find(after.workitem(study.study_uid).workitem_uid)


@pytest.fixture
def kept(bench: Bench, tmp_path: Path) -> Path:
    """A backup of one study, with the installation still there."""
    bench.receive(mr())
    assert bench.parts.client.busy_slots() == frozenset()
    return make_backup(bench.settings, tmp_path / "backups", 1.0)[0]


def test_no_study_is_removed_while_it_is_copied(bench: Bench, tmp_path: Path, monkeypatch):
    """A backup waits for the end of a removal, and the next removal for the end of the backup."""
    bench.receive(mr())
    monkeypatch.setattr("serving.slots._WAIT_S", 0.05)
    tries, taken, copying = [], FileSlots.taken, []

    def noted(slots: FileSlots, slot: str) -> AbstractContextManager[StillHeld]:
        tries.append(slot)
        return taken(slots, slot)

    def kept(*arguments: Any, **named: Any) -> bool:
        copying.append(RETENTION_SLOT in bench.parts.slots.held())
        return keep(*arguments, **named)

    keep = backup_module._keep
    monkeypatch.setattr(backup_module, "_keep", kept)
    backups = tmp_path / "backups"
    with taken(bench.parts.slots, RETENTION_SLOT):
        monkeypatch.setattr(FileSlots, "taken", noted)
        thread = threading.Thread(target=make_backup, args=[bench.settings, backups, 1.0])
        thread.start()
        soon(lambda: len(tries) >= 3)
        assert copying == []
    thread.join()
    assert copying
    assert all(copying)
    assert len(backups_in(backups)) == 1
    assert bench.parts.slots.held() == ()


def test_a_later_backup_copies_what_is_new(bench: Bench, kept: Path, tmp_path: Path):
    bench.receive(images(1))
    partial = kept.parent / ".partial"
    partial.mkdir()  # one that was killed
    later, note = make_backup(bench.settings, kept.parent, 2.0)
    assert (note.instances, note.copied) == (10, 5)
    assert backups_in(kept.parent) == (kept, later)
    (linked,) = {file.stat().st_nlink for file in (kept / "instances").rglob("*.dcm")}
    assert linked == 2
    shutil.rmtree(kept)
    assert problems_of(later) == ()


def test_damage_is_found_and_not_restored(bench: Bench, kept: Path, tmp_path: Path):
    file = next((kept / "instances").rglob("*.dcm"))
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    assert problems_of(kept) == (
        f"instance {file.relative_to(kept / 'instances')} is missing or damaged",
    )
    target = bench.settings.model_copy(update={"data_folder": tmp_path / "new"})
    with pytest.raises(SetupError, match=file.name):
        restore(target, kept)
    (kept / "engine.sqlite").write_bytes(b"")
    assert problems_of(kept) == ("engine.sqlite is missing or damaged",)
    (kept / "backup.json").unlink()
    with pytest.raises(SetupError, match="not a whole backup"):
        restore(target, kept)
    assert not target.data_folder.exists()


def test_nothing_is_overwritten(bench: Bench, kept: Path, tmp_path: Path):
    with pytest.raises(SetupError, match="is not empty"):
        restore(bench.settings, kept)
    with pytest.raises(SetupError, match="there is no installation"):
        make_backup(Settings(data_folder=tmp_path / "none"), tmp_path / "other", 1.0)


def test_two_kinds_of_databases_are_refused(bench: Bench, tmp_path: Path):
    mixed = bench.settings.model_copy(update={"engine_url": "postgresql://127.0.0.1/none"})
    with pytest.raises(SetupError, match="one PostgreSQL database for both"):
        make_backup(mixed, tmp_path / "backups", 1.0)
    assert backups_in(tmp_path / "backups") == ()


def test_the_commands(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    bench.receive(mr())
    settings = tmp_path / "wetread.toml"
    settings.write_text(f'data_folder = "{bench.settings.data_folder}"')
    assert main(["--settings", str(settings), "backup", str(tmp_path / "b"), "--verify"]) == 0
    (made,) = backups_in(tmp_path / "b")
    assert f"{made} is whole" in capsys.readouterr().out.replace("\n", "")
    settings.write_text('data_folder = "new"')
    assert main(["--settings", str(settings), "restore", str(made)]) == 0
    assert len(list((tmp_path / "new" / "instances").rglob("*.dcm"))) == 5
    assert main(["--settings", str(settings), "restore", str(made)]) == 1
    next((made / "instances").rglob("*.dcm")).unlink()
    assert main(["--settings", str(settings), "restore", str(made), "--verify"]) == 1
    assert "is missing or damaged" in capsys.readouterr().err
