"""Studies that hang, crash or take too much: what becomes of them, and of the others meanwhile."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from imaging.reasons import reason
from models.turns import SharedTurns
from serving.analysers import Analysers, _Place
from serving.attempts import Attempts
from serving.questions import Answer, End
from serving.tickets import Assignment, StudyTicket, told
from tests.dicom_node.rig import wait_for
from tests.models.networks import SEGMENTATION, endless, greedy
from tests.serving.bench import MODEL, Bench, mr, said

R = TypeVar("R")
soon = partial(wait_for, seconds=60)
LIMIT_S = 200.0


def named(name: str, limit_s: float = 0.0) -> str:
    manifest = SEGMENTATION.replace('name = "bright-tissue"', f'name = "{name}"')
    return manifest.replace("[inference]", f"[inference]\ntime_limit_s = {limit_s}")


class Room:
    """An installation with two analysers, and models that misbehave."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder, analysis={"memory_gb": 1.5, "studies_at_once": 2})
        self.bench.install()
        self.bench.install(named("slow", 1.0), endless())
        self.bench.install(named("endless"), endless())
        self.bench.install(named("greedy"), greedy())
        self.analysers = Analysers(self.bench.settings)
        self.attempts = Attempts(self.bench.settings, self.analysers, self.bench.parts.registry)
        self._pool = ThreadPoolExecutor()

    def ticket(self, number: int) -> StudyTicket:
        uid = f"1.2.9.{number}"
        study = self.bench.receive(mr(StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1"))
        ticket = self.bench.ticket(study)
        self.bench.journal.begin(ticket["workitem_uid"])
        return ticket

    def assignment(self, number: int, model: str = MODEL) -> Assignment:
        ticket = self.ticket(number)
        series_uid = f"{ticket['study_uid']}.1"
        return Assignment(
            study=ticket, series_uid=series_uid, stack=0, model=model, destinations=[]
        )

    def submit(self, call: Callable[..., R], *arguments: object, **named: object) -> Future[R]:
        return self._pool.submit(call, *arguments, **named)

    def read(self, assignment: Assignment, limit_s: float = LIMIT_S) -> Future[Answer]:
        study_uid = assignment["study"]["study_uid"]
        return self.submit(self.analysers.ask, study_uid, "read", assignment, limit_s=limit_s)

    def asked(self, study_uid: str) -> list[_Place]:
        """The places where this study is in work, once for each question."""
        return [
            p for p in self.analysers._places for _ in range(p.asked) if p.study_uid == study_uid
        ]

    def process_of(self, study_uid: str) -> int:
        soon(lambda: any(place.process.alive for place in self.asked(study_uid)))
        return self.asked(study_uid)[0].process._process.pid


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    made = Room(tmp_path_factory.mktemp("room"))
    yield made
    for place in made.analysers._places:
        place.process.kill()


def test_what_takes_too_long_is_stopped_and_the_reader_is_told(room: Room):
    assignment = room.assignment(1, "slow")
    other = room.read(room.assignment(2))
    late = room.attempts.read(assignment, 0)
    assert other.result(LIMIT_S).end is End.DONE
    assert told(late["set_aside"]) == reason("TIME_LIMIT", seconds=1.0)
    refused = room.attempts.refuse(assignment, late["set_aside"], 0)
    (notice,) = room.bench.journal.results(study_uid="1.2.9.1")
    assert refused["value"] == [notice.instance_uid]
    assert "stopped because it took more than 1 s" in said(room.bench.dataset(notice))
    assert room.bench.workitem("1.2.9.1").reason_code == "TIME_LIMIT"


def test_models_of_a_study_that_is_stopped_are_read_again(room: Room):
    hanging = room.assignment(3, "endless")
    sound = hanging | {"model": MODEL}
    with SharedTurns(room.bench.settings.turns_folder, lambda _: None).on("cpu"):
        both = [room.read(hanging, limit_s=0.5), room.read(sound)]
        soon(lambda: len(room.asked("1.2.9.3")) == 2)
        threading.Event().wait(1.5)  # which is no time of theirs: they wait for the device
        assert not both[0].done()
    hung = both[0].result(LIMIT_S)
    assert hung.end is End.LATE
    assert both[1].result(LIMIT_S).end in {End.INTERRUPTED, End.DONE}
    again = room.attempts.read(sound, 0)
    assert len(again["value"]) == 3


def test_a_study_that_kills_its_process_is_set_aside_after_three_tries(room: Room):
    poison, outcomes = room.assignment(4, "endless"), []
    for tries in range(3):
        dying = room.submit(room.attempts.read, poison, tries)
        os.kill(room.process_of("1.2.9.4"), signal.SIGSEGV)
        outcomes.append(dying.result(LIMIT_S))
    assert [outcome["again_in_s"] is None for outcome in outcomes] == [False, False, True]
    why = told(outcomes[-1]["set_aside"])
    assert why.text == "the analysis ended its process 3 times and was set aside"


def test_what_takes_too_much_memory_is_stopped_before_the_machine_suffers(room: Room):
    outcome = room.attempts.read(room.assignment(5, "greedy"), 2)
    assert told(outcome["set_aside"]) == reason("OUT_OF_MEMORY", tries=3)
    assert room.read(room.assignment(6)).result(LIMIT_S).end is End.DONE
