"""Lets versions read in the shadow while no study waits; in one worker at a time.

They read in a process of their own, on the CPU, with the processor time that nobody else wants. So
whatever a version does there, studies are read as if it were not there.
"""

import time
from collections.abc import Iterator

import structlog

from imaging.errors import SetupError
from models.registry import Registry
from models.stages import Stage, shadow_since
from serving.analyser_process import AnalyserProcess
from serving.questions import Answer, End
from serving.settings import Settings
from serving.shadow.reader import SHADOW_STEP
from serving.shadow.readings import Said, Shadow, ShadowReadings
from serving.slots import SHADOW_SLOT, Slots
from serving.tickets import Assignment

LOOK_S = 2.0
LIMIT_S = 3600.0  # of one reading; it may have to wait for the processor
_log = structlog.get_logger(__name__)


class ShadowRunner:
    """Makes one reading after the other; it may be killed anywhere."""

    def __init__(
        self, settings: Settings, registry: Registry, readings: ShadowReadings, *, slots: Slots
    ) -> None:
        analysis = settings.analysis.model_copy(update={"device": "cpu"})
        self._settings = settings.model_copy(update={"analysis": analysis})
        self._registry, self._readings, self._slots = registry, readings, slots

    def run(self) -> None:
        """Read until the process ends."""
        while True:
            try:
                self._look_alone()
            except SetupError as error:  # another worker does
                _log.debug("shadow_waits", why=str(error))
            except Exception:  # noqa: BLE001 - whatever hinders it now may be gone the next time
                _log.exception("shadow_fails")
            time.sleep(LOOK_S)

    def look(self) -> int:
        """Make the readings that are to be made, until a study waits; return how many."""
        found, number = self._next(), 0
        if found is None:
            return 0
        process = AnalyserProcess(self._settings, lambda: None, aside=True)
        try:
            while found is not None and self._read(process, *found):
                found, number = self._next(), number + 1
        finally:
            process.kill()
        return number

    def _look_alone(self) -> None:
        if self._next() is not None:
            with self._slots.taken(SHADOW_SLOT):
                self.look()

    def shadows(self) -> Iterator[Shadow]:
        """Yield the versions that are tried out beside one that is served."""
        for name in self._registry.names():
            versions = self._registry.versions(name)
            served = next((v.digest for v in versions if v.stage is Stage.SERVED), None)
            for version in versions:
                since = shadow_since(self._registry.history(name), version.digest)
                if version.stage is Stage.SHADOW and served and since is not None:
                    yield Shadow(model=name, digest=version.digest, served=served, since=since)

    def _next(self) -> tuple[Assignment, Shadow] | None:
        for shadow in self.shadows():
            if self._readings.work_waits():
                return None
            if assignment := self._readings.next_for(shadow):
                return assignment, shadow
        return None

    def _read(self, process: AnalyserProcess, assignment: Assignment, shadow: Shadow) -> bool:
        """Make one reading; False when it has to be made again, or the process is gone."""
        if not self._readings.begin(assignment, shadow):
            return True
        study_uid = assignment["study"]["study_uid"]
        answer = process.ask(study_uid, SHADOW_STEP, assignment, limit_s=LIMIT_S)
        if answer.end is End.DONE:
            self._readings.keep(assignment, Said.model_validate(answer.value))
            return True
        _log.warning("shadow_reading_fails", study=study_uid, model=shadow.model, end=answer.end)
        if answer.end is End.HELD_UP:  # no fault of its own
            self._readings.take_back(assignment)
        elif why := _given_up(answer):
            self._readings.keep(assignment, Said(why=why))
        return process.alive and answer.end is not End.HELD_UP


def _given_up(answer: Answer) -> str:
    """Return the code of what will not be better the next time; empty for what may be."""
    match answer.end:
        case End.LATE:
            return "TIME_LIMIT"
        case End.DIED:
            return "OUT_OF_MEMORY" if answer.detail == "memory" else ""
        case _:
            return "INTERNAL_ERROR"
