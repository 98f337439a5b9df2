"""What becomes of a step that fails: tried again a few times, then set aside with its reason.

The one place that counts tries, for the workflow to keep: only what the study itself did counts,
not that a process was restarted, a disk was full or a database away.
"""

import time
from typing import Any, TypedDict, cast

import structlog

from imaging.errors import NotFound, PackageInvalid
from imaging.reasons import reason
from models.registry import Registry
from serving.analysers import Analysers
from serving.questions import Answer, End
from serving.settings import Settings
from serving.tickets import Assignment, SetAside, StudyTicket, planned_digest

_log = structlog.get_logger(__name__)
TRIES = 3
_PAUSES_S = (0.5, 2.0)
_OBSTACLE_S = 5.0
_PASSING = (End.HELD_UP, End.INTERRUPTED)


class Outcome(TypedDict):
    """What came of one try: a value, another try after a pause, or a reason to set it aside."""

    value: Any
    again_in_s: float | None
    set_aside: SetAside | None


class Attempts:
    """Takes the steps of an analysis through analysers; `tries` is how often each failed before."""

    def __init__(self, settings: Settings, analysers: Analysers, registry: Registry) -> None:
        self._settings, self._analysers, self._registry = settings, analysers, registry

    def plan(self, ticket: StudyTicket, tries: int) -> Outcome:
        """Decide what to read of a study."""
        return self._try(ticket["study_uid"], "plan", ticket, tries=tries)

    def conclude(self, ticket: StudyTicket, tries: int) -> Outcome:
        """End the analysis of a study."""
        return self._try(ticket["study_uid"], "conclude", ticket, tries=tries)

    def read(self, assignment: Assignment, tries: int) -> Outcome:
        """Let one model read one series."""
        limit_s = self._limit_s(assignment, assignment["model"])
        study_uid = assignment["study"]["study_uid"]
        return self._try(study_uid, "read", assignment, tries=tries, limit_s=limit_s)

    def refuse(self, assignment: Assignment, why: SetAside, tries: int) -> Outcome:
        """Tell the reader of a study why a model's reading was set aside."""
        argument = {"assignment": assignment, "why": why}
        return self._try(assignment["study"]["study_uid"], "refuse", argument, tries=tries)

    def _limit_s(self, assignment: Assignment, model: str) -> float:
        """Return the time limit of a model, and of those whose masks it needs."""
        try:
            manifest = self._registry.get(model, planned_digest(assignment, model)).manifest
        except (NotFound, PackageInvalid):
            return self._settings.analysis.time_limit_s
        own = manifest.inference.time_limit_s or self._settings.analysis.time_limit_s
        return own + sum(self._limit_s(assignment, needed) for needed in manifest.uses)

    def _try(
        self, study_uid: str, step: str, argument: Any, *, tries: int, limit_s: float | None = None
    ) -> Outcome:
        most_s = limit_s or self._settings.analysis.time_limit_s
        answer = self._answer(study_uid, step, argument, limit_s=most_s, alone=tries > 0)
        if answer.end is End.DONE:
            return Outcome(value=answer.value, again_in_s=None, set_aside=None)
        _log.error("try_failed", study=study_uid, step=step, tries=tries + 1, end=answer.end)
        if answer.end is not End.LATE and tries + 1 < TRIES:
            return Outcome(value=None, again_in_s=_PAUSES_S[tries], set_aside=None)
        why = _why(answer, most_s, tries=tries + 1)
        return Outcome(value=None, again_in_s=None, set_aside=why)

    def _answer(
        self, study_uid: str, step: str, argument: Any, *, limit_s: float, alone: bool
    ) -> Answer:
        """Return an answer that says something about the study."""
        while True:
            answer = self._analysers.ask(study_uid, step, argument, limit_s=limit_s, alone=alone)
            if answer.end not in _PASSING:
                return answer
            _log.warning("step_waits", study=study_uid, step=step, end=answer.end)
            time.sleep(_OBSTACLE_S if answer.end is End.HELD_UP else 0.0)


def settled(recorded: Any) -> Outcome:
    """Return an outcome as it was recorded; before tries were counted, only values were."""
    if isinstance(recorded, dict) and "again_in_s" in recorded:
        return cast(Outcome, recorded)
    return Outcome(value=recorded, again_in_s=None, set_aside=None)


def _why(answer: Answer, limit_s: float, *, tries: int) -> SetAside:
    match answer.end:
        case End.LATE:
            why = reason("TIME_LIMIT", seconds=limit_s)
        case End.DIED if answer.detail == "memory":
            why = reason("OUT_OF_MEMORY", tries=tries)
        case End.DIED:
            why = reason("POISON", tries=tries)
        case _:
            why = reason("INTERNAL_ERROR", detail=f"{answer.detail}: see the log")
    return SetAside(code=why.code, numbers=dict(why.numbers))
