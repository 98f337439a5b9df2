"""The durable order of work: plan a study, let each model read, deliver each result.

Thin on purpose: what a step does is a plain function elsewhere; here is only what follows what.
A new step between old ones needs a patch marker: work in flight goes on under newer code.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import structlog

from serving.courier import Courier
from serving.engine import child, patched, sleep, step, workflow
from serving.lookout import Lookout
from serving.pipeline import Pipeline
from serving.tickets import ANALYSE_STUDY, DELIVER_AGAIN, Assignment, StudyTicket

_log = structlog.get_logger(__name__)
_Deliver: TypeAlias = Callable[[str, str, list[str]], Awaitable[None]]
_ReadSeries: TypeAlias = Callable[[str, Assignment], Awaitable[None]]


def register(pipeline: Pipeline, courier: Courier, lookout: Lookout) -> None:
    """Register the workflows of a worker; once, before it is launched."""
    deliver = _deliver(courier, lookout)
    _deliver_again(courier, deliver)
    _analyse_study(pipeline, _read_series(pipeline, deliver), deliver)


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


async def _send(
    deliver: _Deliver, work_id: str, results: list[str], *, destinations: list[str]
) -> None:
    """Start a delivery to each destination, each for itself: one that is down delays no other."""
    for destination in destinations if results else ():
        await child(deliver, f"{work_id}/to/{destination}", destination, results)


def _read_series(pipeline: Pipeline, deliver: _Deliver) -> _ReadSeries:
    @workflow("read-series")
    async def read_series(work_id: str, assignment: Assignment) -> None:
        results = await step(pipeline.read, assignment)
        await _send(deliver, work_id, results, destinations=assignment["destinations"])

    return read_series


def _analyse_study(pipeline: Pipeline, read_series: _ReadSeries, deliver: _Deliver) -> None:
    @workflow(ANALYSE_STUDY)
    async def analyse_study(work_id: str, ticket: StudyTicket) -> None:
        try:
            plan = await step(pipeline.plan, ticket)
            readings = [
                await child(read_series, f"{work_id}/{assignment['model']}", assignment)
                for assignment in plan["assignments"]
            ]
            for ended in readings:
                await ended()
            results = await step(pipeline.conclude, ticket)
            await _send(deliver, work_id, results, destinations=plan["destinations"])
        except Exception as error:  # the table of cancel reasons: whatever no part foresaw
            _log.exception("analysis_failed", workitem=work_id)
            await step(pipeline.fail, work_id, f"{type(error).__name__}: see the log")
            raise
