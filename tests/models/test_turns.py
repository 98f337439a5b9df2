import fcntl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from models.turns import OwnTurns, SharedTurns, Stage

_HOLDER = """
import pathlib, sys, time
from models.turns import SharedTurns
with SharedTurns(pathlib.Path(sys.argv[1]), lambda stage: None).on("cpu"):
    print("has it", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "turns"


def test_turns_of_two_devices_do_not_wait_for_each_other(folder: Path):
    for turns in (OwnTurns(), SharedTurns(folder, lambda _: None)):
        with turns.on("cpu"), turns.on("cuda:0"):
            pass


def test_a_process_that_dies_gives_its_turn_back(folder: Path):
    command = [sys.executable, "-c", _HOLDER, folder]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "has it\n"
        stages: list[Stage] = []
        waits = threading.Event()

        def tell(stage: Stage) -> None:
            stages.append(stage)
            waits.set()

        def take() -> None:
            with SharedTurns(folder, tell).on("cpu"):
                pass

        thread = threading.Thread(target=take)
        thread.start()
        assert waits.wait(30)
        assert stages == [Stage.WAITING]
        holder.kill()
        thread.join(30)
    assert stages == [Stage.WAITING, Stage.RUNNING, Stage.ENDED]


def test_who_waits_comes_before_who_had_a_turn_already(folder: Path):
    order: list[str] = []
    waits, first_has_it = threading.Event(), threading.Event()

    def second() -> None:
        first_has_it.wait(30)
        tell = lambda stage: waits.set() if stage is Stage.WAITING else None  # noqa: E731
        with SharedTurns(folder, tell).on("cpu"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    turns = SharedTurns(folder, lambda _: None)
    with turns.on("cpu"):
        order.append("first")
        first_has_it.set()
        assert waits.wait(30)
        while not _is_next(folder):
            pass
    with turns.on("cpu"):
        order.append("first again")
    thread.join(30)
    assert order == ["first", "second", "first again"]


def _is_next(folder: Path) -> bool:
    """Whether somebody holds the place of who comes next."""
    with (folder / "cpu.next").open("w") as place:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
