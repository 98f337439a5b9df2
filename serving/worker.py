"""The worker process: runs the workflows and closes workitems that the engine has given up."""

import threading
import time

import structlog

from imaging.errors import NotFound
from imaging.reasons import Reason, reason
from models.runtime import open_sessions
from serving.courier import Courier
from serving.engine import Worker
from serving.lookout import Lookout
from serving.parts import Parts
from serving.pipeline import Pipeline
from serving.results import ResultStore
from serving.settings import Settings
from serving.slots import slot_taken
from serving.studies import StudyReader
from serving.workflows import register

_log = structlog.get_logger(__name__)
_LOOK_S = 5.0


def build_pipeline(parts: Parts) -> Pipeline:
    """Return the pipeline on these parts."""
    settings = parts.settings
    return Pipeline(
        settings=settings,
        studies=StudyReader(parts.index, parts.archive, settings.geometry.tolerances),
        results=ResultStore(
            index=parts.index, ingest=parts.ingest, journal=parts.journal, clock=time.time
        ),
        journal=parts.journal,
        registry=parts.registry,
        sessions=open_sessions(settings.analysis.device, threads=settings.analysis.threads),
    )


def run(settings: Settings, stop: threading.Event, *, slot: str = "worker-0") -> None:
    """Work until `stop` is set. What is unfinished then goes on at the next start of this slot.

    Raises
    ------
    SetupError
        Another process works in this slot.
    """
    parts = Parts(settings)
    with slot_taken(settings.slots_folder, slot):
        _work(parts, stop, slot=slot)


def _work(parts: Parts, stop: threading.Event, *, slot: str) -> None:
    settings, pipeline = parts.settings, build_pipeline(parts)
    courier = Courier(
        settings=settings,
        index=parts.index,
        archive=parts.archive,
        journal=parts.journal,
        transactions=parts.transactions,
    )
    worker = Worker(
        settings.work_url,
        slot=slot,
        studies_at_once=settings.analysis.studies_at_once,
        log_level="warning",
    )
    delivery = settings.delivery
    lookout = Lookout(courier.probe, look_s=delivery.look_s, at_once=delivery.at_once)
    register(pipeline, courier, lookout)
    worker.launch()
    _log.info("working", slot=slot)
    pipeline.warm_up()
    while not stop.wait(_LOOK_S):
        close_given_up(parts)
    worker.leave()


def close_given_up(parts: Parts) -> None:
    """End workitems whose workflow the engine no longer runs, with the reason."""
    for item in parts.journal.workitems(state="IN PROGRESS"):
        try:
            status = parts.client.find(item.workitem_uid).status
        except NotFound:
            continue
        if why := _given_up(status):
            _log.error("workitem_given_up", workitem=item.workitem_uid, status=status)
            parts.journal.end(item.workitem_uid, "CANCELED", why)


def _given_up(status: str) -> Reason | None:
    match status:
        case "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
            return reason("POISON")
        case "ERROR":
            return reason("INTERNAL_ERROR", detail="unexpected error; see the log")
        case "CANCELLED":
            return reason("CANCELED_BY_USER")
        case _:
            return None
