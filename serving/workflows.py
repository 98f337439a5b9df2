"""The durable order of work: plan a study, let each model read, deliver each result.

Thin on purpose: what a step does is a plain function elsewhere; here is only what follows what.
A new step between old ones needs a patch marker: work in flight goes on under newer code.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import structlog

from imaging.reasons import reason
from serving.assessing import AssessmentWriter
from serving.attempts import Attempts, Outcome, settled
from serving.courier import Courier
from serving.engine import child, patched, sleep, step, workflow
from serving.journal import Journal
from serving.lookout import Lookout
from serving.obstacles import is_obstacle
from serving.tickets import (
    ANALYSE_STUDY,
    DELIVER_AGAIN,
    FILE_ASSESSMENT,
    Assignment,
    Plan,
    SetAside,
    StudyTicket,
    told,
)

_SETTLED_S = 2.0  # readers assess one finding after the other; one document says it all
_log = structlog.get_logger(__name__)
_Deliver: TypeAlias = Callable[[str, str, list[str]], Awaitable[None]]
_ReadSeries: TypeAlias = Callable[[str, Assignment], Awaitable[None]]


def register(
    attempts: Attempts,
    journal: Journal,
    courier: Courier,
    *,
    lookout: Lookout,
    writer: AssessmentWriter,
) -> None:
    """Register the workflows of a worker; once, before it is launched."""
    deliver = _deliver(courier, lookout)
    _deliver_again(courier, deliver)
    _file_assessment(writer, deliver)
    read_series = _read_series(attempts, journal, deliver)
    _analyse_study(attempts, journal, read_series, deliver=deliver)


def _deliver(courier: Courier, lookout: Lookout) -> _Deliver:
    @workflow("deliver", forever=True)
    async def deliver(_work_id: str, destination: str, results: list[str]) -> None:
        attempt = 0
        retry_in_s: float | None = 0.0
        watched = await patched("lookout")  # before, waits were steps of their own
        while retry_in_s is not None:
            if not watched:
                await sleep(retry_in_s)
            elif retry_in_s > 0:
                await lookout.wait(destination, retry_in_s)
            async with lookout.turn(destination):
                retry_in_s = await step(courier.attempt, destination, results, attempt)
            attempt += 1
        lookout.arrived(destination)

    return deliver


def _deliver_again(courier: Courier, deliver: _Deliver) -> None:
    @workflow(DELIVER_AGAIN)
    async def deliver_again(work_id: str, destination: str, results: list[str]) -> None:
        await step(courier.start_over, destination, results)
        await child(deliver, f"{work_id}/deliver", destination, results)


def _file_assessment(writer: AssessmentWriter, deliver: _Deliver) -> None:
    @workflow(FILE_ASSESSMENT)
    async def file_assessment(work_id: str, study_uid: str) -> None:
        await sleep(_SETTLED_S)
        sent = await step(writer.write, study_uid)
        await _send(deliver, work_id, sent["results"], destinations=sent["destinations"])


async def _send(
    deliver: _Deliver, work_id: str, results: list[str], *, destinations: list[str]
) -> None:
    """Start a delivery to each destination, each for itself: one that is down delays no other."""
    for destination in destinations if results else ():
        await child(deliver, f"{work_id}/to/{destination}", destination, results)


async def _settled(take: Callable[..., Outcome], *arguments: object) -> Outcome:
    """Take a step, again after what failed, until it gives a value or is set aside."""
    tries = 0
    while True:
        outcome = settled(await step(take, *arguments, tries))
        if outcome["again_in_s"] is None:
            return outcome
        tries += 1
        await sleep(outcome["again_in_s"])


def _read_series(attempts: Attempts, journal: Journal, deliver: _Deliver) -> _ReadSeries:
    @workflow("read-series")
    async def read_series(work_id: str, assignment: Assignment) -> None:
        outcome = await _settled(attempts.read, assignment)
        if why := outcome["set_aside"]:
            outcome = await _settled(attempts.refuse, assignment, why)
        if outcome["set_aside"]:  # not even the notice could be written
            workitem_uid = assignment["study"]["workitem_uid"]
            await step(journal.note_failure, workitem_uid, told(outcome["set_aside"]))
            return
        destinations = assignment["destinations"]
        await _send(deliver, work_id, outcome["value"], destinations=destinations)

    return read_series


def _analyse_study(
    attempts: Attempts, journal: Journal, read_series: _ReadSeries, *, deliver: _Deliver
) -> None:
    async def analysed(work_id: str, ticket: StudyTicket) -> SetAside | None:
        planned = await _settled(attempts.plan, ticket)
        if planned["set_aside"]:
            return planned["set_aside"]
        plan: Plan = planned["value"]
        readings = [
            await child(read_series, f"{work_id}/{assignment['model']}", assignment)
            for assignment in plan["assignments"]
        ]
        for ended in readings:
            await ended()
        concluded = await _settled(attempts.conclude, ticket)
        if not concluded["set_aside"]:
            destinations = plan["destinations"]
            await _send(deliver, work_id, concluded["value"], destinations=destinations)
        return concluded["set_aside"]

    @workflow(ANALYSE_STUDY)
    async def analyse_study(work_id: str, ticket: StudyTicket) -> None:
        try:
            why = await analysed(work_id, ticket)
        except Exception as error:  # the table of cancel reasons: whatever no part foresaw
            _leave_to_the_engine(error)
            _log.exception("analysis_failed", workitem=work_id)
            problem = reason("INTERNAL_ERROR", detail=f"{type(error).__name__}: see the log")
            await step(journal.fail, work_id, problem)
            raise
        if why:
            await step(journal.fail, work_id, told(why))


def _leave_to_the_engine(error: Exception) -> None:
    """Raise again what passes by itself: no analysis fails for it."""
    if is_obstacle(error):
        raise error
