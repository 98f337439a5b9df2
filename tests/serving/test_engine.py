import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imaging.errors import NotFound
from serving.engine import Client, prepare
from tests.dicom_node.rig import wait_for
from tests.serving.engine_rig import Rig

_COUNT = "SELECT count(*) FROM workflow_status"
_ROOT = Path(__file__).parents[2]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path, f"sqlite:///{tmp_path / 'engine.sqlite'}")
    yield made
    made.stop()


def test_work_goes_on_where_a_killed_process_left_it(rig: Rig):
    rig.client.start("three-steps", "w", "work", priority=5)
    assert rig.client.find("w").status == "ENQUEUED"
    assert rig.start("work 2").wait(20) == 7
    assert rig.client.find("w").executor_id == "worker-0"
    rig.start()
    rig.ended("w")
    assert rig.notes() == ["work 1", "work 2", "work 2", "work 3"]


def test_the_same_work_runs_once_and_the_urgent_first(rig: Rig):
    for work_id, priority in (("routine", 5), ("urgent", 1), ("routine", 5), ("late", 5)):
        rig.client.start("part", work_id, work_id, priority=priority)
    rig.client.cancel(["late"])
    rig.start()
    for work_id in ("urgent", "routine"):
        rig.ended(work_id)
    rig.client.start("part", "routine", "again", priority=5)
    rig.client.start("family", "f", priority=5)
    rig.ended("f")
    assert rig.notes() == [
        "urgent urgent",
        "routine routine",
        *sorted(rig.notes()[2:4]),
        "all ended",
    ]
    assert sorted(rig.notes()[2:4]) == ["f/a a", "f/b b"]
    assert rig.client.find("late").status == "CANCELLED"
    assert rig.client.children("f") == ()


def test_a_wait_outlasts_the_process(rig: Rig):
    rig.client.start("sleeper", "w", priority=5)
    rig.start()
    wait_for(lambda: rig.notes() == ["before"], seconds=60)
    time.sleep(0.5)  # until the step is recorded
    begun = time.monotonic()
    rig.kill()
    rig.start()
    rig.ended("w")
    assert time.monotonic() - begun < 8
    assert rig.notes() == ["before", "after"]


def test_work_that_kills_its_process_is_set_aside_and_other_work_goes_on(rig: Rig):
    rig.client.start("three-steps", "poison", "p", priority=5)
    rig.client.start("three-steps", "sound", "s", priority=9)
    rig.start("p 1", restarts=20)
    rig.ended("poison", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
    rig.ended("sound")
    assert 2 <= rig.notes().count("p 1") <= 7
    assert rig.notes()[-3:] == ["s 1", "s 2", "s 3"]


def test_unknown_work_is_not_found(rig: Rig):
    with pytest.raises(NotFound, match="nothing"):
        rig.client.find("nothing")
    rig.client.cancel(["nothing"])


def test_making_the_database_ready_again_does_not_let_go_of_it(rig: Rig):
    """Each part of a process makes it ready, while others come and go."""
    rig.client.start("part", "before", "x", priority=5)
    prepare(rig.url)
    path = rig.url.removeprefix("sqlite:///")
    look = f"import sqlite3; sqlite3.connect({path!r}).execute('SELECT * FROM sqlite_master')"
    subprocess.run([sys.executable, "-c", look], check=True)
    rig.client.start("part", "after", "x", priority=5)
    count = f"import sqlite3; print(*sqlite3.connect({path!r}).execute({_COUNT!r}).fetchone())"
    done = subprocess.run([sys.executable, "-c", count], check=True, capture_output=True, text=True)
    assert done.stdout == "2\n"


def test_the_database_is_private_and_made_once(tmp_path: Path):
    path = tmp_path / "new" / "engine.sqlite"
    command = [
        sys.executable,
        "-c",
        f"from serving.engine import prepare; prepare('sqlite:///{path}')",
    ]
    processes = [subprocess.Popen(command, cwd=_ROOT) for _ in range(2)]
    assert [process.wait(30) for process in processes] == [0, 0]
    assert path.stat().st_mode & 0o777 == 0o600
    prepare(f"sqlite:///{path}")
    Client(f"sqlite:///{path}").start("part", "w", "x", priority=5)


def test_preparing_again_leaves_the_locks_of_open_connections(tmp_path):
    """Else another process that closes the database takes its log away from under us."""
    path = tmp_path / "engine.sqlite"
    prepare(f"sqlite:///{path}")
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    prepare(f"sqlite:///{path}")
    look = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM mine')"
    subprocess.run([sys.executable, "-c", f"{look}; c.close()", path], check=True)
    assert path.with_name("engine.sqlite-wal").exists()
    connection.close()
