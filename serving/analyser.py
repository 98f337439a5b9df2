"""The process in which studies are read: it may crash, hang or be killed, and nothing is lost.

Started by `analyser_process`: settings on the first line of standard input, then one question a
line, each a step of `pipeline.Pipeline` with its argument; one line of standard output for each
answer. Questions are answered side by side.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog

from models.runtime import open_sessions
from models.turns import SharedTurns, Stage, Turns
from serving.logs import configure
from serving.obstacles import is_obstacle
from serving.parts import Parts
from serving.pipeline import Pipeline
from serving.questions import Answer, End, Question
from serving.results import ResultStore
from serving.settings import Settings
from serving.shadow.reader import SHADOW_STEP, ShadowReader
from serving.studies import StudyReader
from serving.tickets import told

_log = structlog.get_logger(__name__)
_LAST = 19  # the least of priorities


def build_pipeline(parts: Parts, turns: Turns | None = None) -> Pipeline:
    """Return the pipeline on these parts; `turns` are those of the devices, if they are shared."""
    settings = parts.settings
    return Pipeline(
        settings=settings,
        studies=StudyReader(parts.index, parts.archive, settings.geometry.tolerances),
        results=ResultStore(
            index=parts.index, ingest=parts.ingest, journal=parts.journal, clock=time.time
        ),
        journal=parts.journal,
        registry=parts.registry,
        sessions=open_sessions(
            settings.analysis.device, threads=settings.analysis.threads, turns=turns
        ),
    )


def build_shadow(parts: Parts, pipeline: Pipeline) -> ShadowReader:
    """Return what lets a version read in the shadow of the served one."""
    return ShadowReader(pipeline, journal=parts.journal, index=parts.index, archive=parts.archive)


def main(*, aside: bool = False) -> None:
    """Answer questions until standard input ends; `aside` of the others, whom it must not delay."""
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not get among the answers
    settings = Settings.model_validate_json(sys.stdin.readline())
    configure(settings.log, process="analyser")
    analyser = _Analyser(settings, answers, aside=aside)
    if aside:
        _stand_back()
    for line in sys.stdin:
        question = Question.model_validate_json(line)
        threading.Thread(target=analyser.answer, args=(question,), daemon=True).start()
    os._exit(0)


def _stand_back() -> None:
    """Take only the processor time that nobody else wants, and so do threads that begin later.

    Only now: before, the database's lock was held for a moment, which others may wait for.
    """
    os.nice(_LAST)
    with suppress(OSError):  # a container may forbid it
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


class _Analyser:
    def __init__(self, settings: Settings, answers: TextIO, *, aside: bool) -> None:
        self._answers, self._lock = answers, threading.Lock()
        self._asked: dict[int, int] = {}  # thread to question
        self._stages: dict[int, Stage] = {}  # question to where it is with its turn
        self._paused: tuple[int, ...] = ()
        # Who stands aside waits for no device, and keeps nobody waiting for one.
        turns = None if aside else SharedTurns(settings.turns_folder, self._take_note)
        parts = Parts(settings)
        pipeline = build_pipeline(parts, turns)
        self._steps: dict[str, Callable[[Any], Any]] = {
            "plan": pipeline.plan,
            "read": pipeline.read,
            "conclude": pipeline.conclude,
            "refuse": lambda given: pipeline.refuse(given["assignment"], told(given["why"])),
            SHADOW_STEP: build_shadow(parts, pipeline).read,
        }
        if not aside:
            pipeline.warm_up()
        self._send(Answer(number=0))

    def answer(self, question: Question) -> None:
        """Answer one question; the one place that catches whatever no part foresaw."""
        number, thread = question.number, threading.get_ident()
        with self._lock:
            self._asked[thread] = number
        try:
            value = self._steps[question.step](cast(Any, question.argument))
        except Exception as error:  # noqa: BLE001 - said to the worker, which decides
            end = End.HELD_UP if is_obstacle(error) else End.FAILED
            _log.exception("step_failed", step=question.step, study=question.study_uid, end=end)
            answer = Answer(number=number, end=end, detail=type(error).__name__)
        else:
            answer = Answer(number=number, value=value)
        with self._lock:
            del self._asked[thread]
            self._stages.pop(number, None)
        self._send(answer)

    def _take_note(self, stage: Stage) -> None:
        """Tell whose time does not count now: who waits, and all while nothing here runs."""
        number = self._asked.get(threading.get_ident(), 0)
        with self._lock:
            self._stages[number] = stage
            stages = [self._stages.get(asked, Stage.ENDED) for asked in self._asked.values()]
            idle = Stage.WAITING in stages and Stage.RUNNING not in stages
            pairs = zip(self._asked.values(), stages, strict=True)
            paused = tuple(asked for asked, at in pairs if idle or at is Stage.WAITING)
            if paused != self._paused:
                self._paused = paused
                self._write(Answer(number=0, paused=paused))

    def _send(self, answer: Answer) -> None:
        with self._lock:
            self._write(answer)

    def _write(self, answer: Answer) -> None:
        self._answers.write(answer.model_dump_json() + "\n")
