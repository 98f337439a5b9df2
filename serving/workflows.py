"""The durable order of work: plan a study, let each model read, deliver each result.

Thin on purpose: what a step does is a plain function elsewhere; here is only what follows what.
A new step between old ones needs a patch marker: work in flight goes on under newer code.
"""

import structlog

from serving.courier import Courier
from serving.engine import child, sleep, step, workflow
from serving.pipeline import Pipeline
from serving.tickets import ANALYSE_STUDY, Assignment, StudyTicket

_log = structlog.get_logger(__name__)


def register(pipeline: Pipeline, courier: Courier) -> None:
    """Register the workflows of a worker; once, before it is launched."""

    @workflow("deliver")
    async def deliver(_work_id: str, destination: str, results: list[str]) -> None:
        attempt = 0
        retry_in_s: float | None = 0.0
        while retry_in_s is not None:
            await sleep(retry_in_s)
            retry_in_s = await step(courier.attempt, destination, results, attempt)
            attempt += 1

    async def send(work_id: str, results: list[str], destinations: list[str]) -> None:
        for destination in destinations if results else ():
            await child(deliver, f"{work_id}/to/{destination}", destination, results)

    @workflow("read-series")
    async def read_series(work_id: str, assignment: Assignment) -> None:
        results = await step(pipeline.read, assignment)
        await send(work_id, results, assignment["destinations"])

    @workflow(ANALYSE_STUDY)
    async def analyse_study(work_id: str, ticket: StudyTicket) -> None:
        try:
            plan = await step(pipeline.plan, ticket)
            for wave in plan["waves"]:
                readings = [await child(read_series, f"{work_id}/{a['model']}", a) for a in wave]
                for ended in readings:
                    await ended()
            await send(work_id, await step(pipeline.conclude, ticket), plan["destinations"])
        except Exception as error:  # the table of cancel reasons: whatever no part foresaw
            _log.exception("analysis_failed", workitem=work_id)
            await step(pipeline.fail, work_id, f"{type(error).__name__}: see the log")
            raise
