"""The worker process: runs the workflows and closes workitems that the engine has given up."""

import threading
import time
from collections.abc import Callable
from typing import ParamSpec

import structlog

from imaging.errors import NotFound, SetupError
from imaging.reasons import Reason, reason
from serving.analysers import Analysers
from serving.assessing import AssessmentWriter
from serving.attempts import Attempts
from serving.audit_keeper import AuditKeeper
from serving.courier import Courier, Holdings
from serving.engine import MAX_RECOVERIES, Worker, leave
from serving.lookout import Lookout
from serving.parts import Parts
from serving.recognising import Recogniser
from serving.results import ResultStore
from serving.settings import Settings
from serving.shadow.runner import ShadowRunner
from serving.slots import RETENTION_SLOT, StillHeld
from serving.takeover import LOOK_S, Takeover
from serving.ups.performer import Offer
from serving.workflows import register

P = ParamSpec("P")

_log = structlog.get_logger(__name__)
_LEAST_BYTES = 8 << 20
_WORKLIST_S, _WORKLIST_PAUSE_S = 1.0, 10.0
_GUARD_S = 1.0  # less than a dead slot is left alone


def build_courier(parts: Parts) -> Courier:
    """Return what brings results to destinations, on these parts."""
    return Courier(
        settings=parts.settings,
        holdings=Holdings(
            index=parts.index,
            archive=parts.archive,
            journal=parts.journal,
            results=_result_store(parts),
        ),
        transactions=parts.transactions,
        auditor=parts.auditor,
    )


def build_writer(parts: Parts) -> AssessmentWriter:
    """Return what writes assessments, on these parts."""
    return AssessmentWriter(
        index=parts.index,
        archive=parts.archive,
        journal=parts.journal,
        assessments=parts.assessments,
        results=_result_store(parts),
        messages=parts.messages,
    )


def build_recogniser(parts: Parts) -> Recogniser:
    """Return what recognises the objects that readers save, on these parts."""
    return Recogniser(
        index=parts.index,
        archive=parts.archive,
        journal=parts.journal,
        saved=parts.saved,
        operations=parts.operations,
    )


def build_shadow_runner(parts: Parts) -> ShadowRunner:
    """Return what lets versions read in the shadow of the served ones, on these parts."""
    return ShadowRunner(parts.settings, parts.registry, parts.shadow_readings, slots=parts.slots)


def _result_store(parts: Parts) -> ResultStore:
    return ResultStore(
        index=parts.index, ingest=parts.ingest, journal=parts.journal, clock=time.time
    )


def run(settings: Settings, stop: threading.Event, *, slot: str = "worker-0") -> None:
    """Work until `stop` is set. What is unfinished then goes on at the next start of this slot.

    Raises
    ------
    SetupError
        Another process works in this slot.
    """
    parts = Parts(settings, process="worker")
    with parts.slots.taken(slot) as still_held:
        _aside(_guard, still_held)
        try:
            _wait_for_room(parts)
            worker = _launch(parts, slot)
            parts.auditor.start()
            _look_after(parts, worker, stop)
        except Exception:  # noqa: BLE001 - without its slot no work of this process may go on
            _log.exception("worker_fails", slot=slot)
            leave(code=1)
        parts.auditor.stop()
        leave()


def _wait_for_room(parts: Parts) -> None:
    """Begin nothing that the databases have no room to record."""
    while parts.archive.free_bytes() < _LEAST_BYTES:
        _log.error("no_free_space")
        time.sleep(_GUARD_S)


def _launch(parts: Parts, slot: str) -> Worker:
    settings = parts.settings
    courier = build_courier(parts)
    worker = Worker(
        settings.work_url,
        slot=slot,
        studies_at_once=settings.analysis.studies_at_once,
        log_level="warning",
    )
    delivery = settings.delivery
    lookout = Lookout(courier.probe, look_s=delivery.look_s, at_once=delivery.at_once)
    attempts = Attempts(settings, Analysers(settings), parts.registry)
    register(attempts, parts.journal, courier, lookout=lookout, writer=build_writer(parts))
    worker.launch()
    _log.info("working", slot=slot)
    _aside(_keep_house, parts)
    _aside(_recognise, build_recogniser(parts))
    _aside(build_shadow_runner(parts).run)
    _aside(AuditKeeper(parts).run)
    for target in parts.settings.notify:
        _aside(parts.teller.run, target)
    _aside(parts.teller.tidy)
    if settings.worklist.perform:
        _aside(_perform, parts)
    return worker


def _perform(parts: Parts) -> None:
    """Do what other systems ask for on the worklist."""
    title, codes = parts.settings.node.ae_title, parts.settings.worklist.codes
    while True:
        try:
            models = [package.manifest.name for package in parts.registry.packages()]
            parts.performer.look(Offer(ae_title=title, task_codes=codes, models=models))
        except Exception:  # noqa: BLE001 - whatever hinders it now may be gone the next time
            _log.exception("worklist_fails")
            time.sleep(_WORKLIST_PAUSE_S)
        time.sleep(_WORKLIST_S)


def _keep_house(parts: Parts) -> None:
    """Remove what need not be kept, every so often; in one process at a time."""
    every_s = 60 * parts.settings.retention.every_min
    while True:
        try:
            with parts.slots.taken(RETENTION_SLOT):
                parts.retention.run(time.time())
                parts.watch.tell()
        except SetupError as error:  # another process does, or a backup is being made
            _log.info("retention_waits", why=str(error))
        except Exception:  # noqa: BLE001 - whatever hinders it now may be gone the next time
            _log.exception("retention_fails")
        time.sleep(every_s)


def _recognise(recogniser: Recogniser) -> None:
    """Look at what readers save, until the process ends."""
    while True:
        try:
            recogniser.look()
        except Exception:  # noqa: BLE001 - whatever hinders it now may be gone the next time
            _log.exception("recognising_fails")
        time.sleep(LOOK_S)


def _aside(function: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    threading.Thread(target=function, args=args, kwargs=kwargs, daemon=True).start()


def _guard(still_held: StillHeld) -> None:
    """End this process when its slot is lost: what runs here may be taken over elsewhere."""
    while still_held():
        time.sleep(_GUARD_S)
    _log.error("slot_lost")
    leave(code=1)


def _look_after(parts: Parts, worker: Worker, stop: threading.Event) -> None:
    """Take over dead workers' work and close what was given up, until `stop` is set."""
    takeover = Takeover(parts.slots, parts.client.busy_slots, worker.take_over)
    while not stop.wait(LOOK_S):
        takeover.look()
        close_given_up(parts)
        if worker.stumbled:
            _wait_for_room(parts)
            leave(code=1)


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
            return reason("POISON", tries=MAX_RECOVERIES)
        case "ERROR":
            return reason("INTERNAL_ERROR", detail="unexpected error; see the log")
        case "CANCELLED":
            return reason("CANCELED_BY_USER")
        case _:
            return None
