"""What a dead worker left goes on in another one; a live one's work is left alone."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from serving.slots import Slots, open_slots
from serving.takeover import Takeover
from tests.serving.engine_rig import Rig


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"sqlite:///{tmp_path / 'engine.sqlite'}"


@pytest.fixture
def rig(tmp_path: Path, url: str) -> Iterator[Rig]:
    made = Rig(tmp_path, url)
    yield made
    made.stop()


@pytest.fixture
def slots(tmp_path: Path, url: str) -> Slots:
    return open_slots(url, tmp_path / "workers")


def test_the_work_of_a_killed_worker_goes_on_in_another(rig: Rig):
    rig.client.start("three-steps", "w", "work", priority=5)
    rig.client.start("family", "f", priority=9)
    dying = rig.start("work 2", slot="worker-0")
    assert dying.wait(20) == 7
    assert rig.client.busy_slots() == {"worker-0"}
    rig.start(slot="worker-1")
    rig.ended("w")
    rig.ended("f")
    steps = ["work 1", "work 2", "work 2", "work 3", "f/a a", "f/b b", "all ended"]
    assert sorted(rig.notes()) == sorted(steps)
    assert rig.client.find("w").executor_id == "worker-1"
    # The first one comes back and finds nothing left to do.
    rig.start(slot="worker-0")
    rig.client.start("part", "p", "later", priority=5)
    rig.ended("p")
    assert len(rig.notes()) == 8


def test_what_ends_one_worker_after_the_other_is_set_aside(rig: Rig):
    rig.client.start("three-steps", "poison", "p", priority=5)
    rig.client.start("three-steps", "sound", "s", priority=9)
    for slot in ("worker-0", "worker-1"):
        rig.start("p 1", slot=slot, restarts=15)
    rig.ended("poison", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
    rig.ended("sound")
    assert 2 <= rig.notes().count("p 1") <= 7
    assert [note for note in rig.notes() if note != "p 1"] == ["s 1", "s 2", "s 3"]


def test_only_dead_slots_are_taken_over_and_only_by_one(slots: Slots):
    taken: list[str] = []

    def take_over(slot: str) -> tuple[str, ...]:
        taken.append(slot)
        rival.look()  # whoever looks meanwhile finds the slot held
        return ("work",)

    busy = frozenset({"live", "dead"})
    watch = Takeover(slots, lambda: busy, take_over)
    rival = Takeover(slots, lambda: busy, lambda slot: (taken.append(f"{slot} again"), "")[1:])
    with slots.taken("live"):
        for _ in range(2):
            watch.look()
            rival.look()
        assert taken == []  # it may just be starting again
        watch.look()
        assert taken == ["dead"]
    assert slots.held() == ()


def test_a_slot_that_came_back_in_time_keeps_its_work(slots: Slots):
    taken: list[str] = []
    watch = Takeover(slots, lambda: frozenset({"one"}), lambda slot: (taken.append(slot), "")[1:])
    for _ in range(2):
        watch.look()
    with slots.taken("one"):
        watch.look()
    for _ in range(2):
        watch.look()
    assert taken == []


def test_a_lost_session_is_noticed(postgresql_url: str, tmp_path: Path):
    slots = open_slots(postgresql_url, tmp_path)
    driver = sa.make_url(postgresql_url).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(driver, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'one'"
    with slots.taken("one") as still_held:
        assert still_held()
        with engine.connect() as db:
            assert db.execute(sa.text(end)).scalars().all() == [True]
        time.sleep(0.1)
        assert not still_held()
