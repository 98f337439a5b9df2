"""The work engine: durable workflows that survive the death of any process.

The only module that knows DBOS Transact. A workflow is an async function with JSON arguments whose
steps are recorded as they end; after a crash it goes on behind its last recorded step. So every
step must be safe to repeat. No pixel data and no patient data go into arguments or results.
"""

import asyncio
import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar, cast

import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID
from dbos import EnqueueOptions as _EnqueueOptions
from typing_extensions import override

from dicom_node import schema
from imaging.errors import NotFound
from serving.obstacles import is_obstacle

P = ParamSpec("P")
R = TypeVar("R")

# Work in flight goes on under newer code: changed only on purpose, and new steps need a patch.
_VERSION = "wf-1"
_NAME = "wetread"
_STUDY_QUEUE = "study"
_POLL_S = 0.1
MAX_RECOVERIES = 100
_OBSTACLE_S = 3.0
_log = structlog.get_logger(__name__)
_ACTIVE = ("PENDING", "ENQUEUED", "DELAYED")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A workflow as the engine sees it."""

    work_id: str
    status: str
    executor_id: str | None


def workflow(
    name: str, *, forever: bool = False, restarts: int = MAX_RECOVERIES
) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
    """Register an async function as the durable workflow `name`; before `Worker.launch`.

    What is in work each time its process dies is set aside after so many `restarts`, unless it
    must go on `forever`: a delivery waits for days, and restarts are no fault of its own. Nor are
    they of an analysis: what may crash runs in a process of its own, which counts for itself.
    """
    limit = None if forever else restarts
    register = DBOS.workflow(name=name, max_recovery_attempts=limit)
    return lambda function: register(_unharmed(function))


def _unharmed(function: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Let a workflow outlive that the engine's database cannot be written.

    It must not be recorded as failed then, so the process ends, and its restart goes on.
    """

    @wraps(function)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await function(*args, **kwargs)
        except Exception as error:
            if not is_obstacle(error):
                raise
            _log.exception("engine_cannot_write")
            await asyncio.sleep(_OBSTACLE_S)
            leave(code=1)

    return guarded


def _patient(function: Callable[P, R]) -> Callable[P, R]:
    """Let a step wait until what is in its way, and no fault of its own, has passed."""

    @wraps(function)
    def tried(*args: P.args, **kwargs: P.kwargs) -> R:
        while True:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                if not is_obstacle(error):
                    raise
                _log.exception("step_waits", step=function.__name__)
            time.sleep(_OBSTACLE_S)

    return tried


async def step(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run `function` off the event loop and record its JSON result, so that it is not run again."""
    name = function.__name__
    return await DBOS.run_step_async({"name": name}, _patient(function), *args, **kwargs)


async def sleep(seconds: float) -> None:
    """Wait durably: a restart goes on waiting for what is left."""
    await DBOS.sleep_async(seconds)


async def patched(name: str) -> bool:
    """Whether this workflow began under code that has the change `name`, or has not come to it."""
    return await DBOS.patch_async(name)


async def child(
    function: Callable[Concatenate[str, P], Awaitable[None]],
    work_id: str,
    *args: P.args,
    **kwargs: P.kwargs,
) -> Callable[[], Awaitable[None]]:
    """Start ``function(work_id, ...)`` as a durable child at once; the same id runs once.

    Returns a function that waits for its end.
    """
    started = cast(Callable[Concatenate[str, P], Coroutine[Any, Any, None]], function)
    with SetWorkflowID(work_id):
        handle = await DBOS.start_workflow_async(started, work_id, *args, **kwargs)
    return handle.get_result


class _Stumbles(logging.Handler):
    """Hears from the engine's log that its database could not be written; nothing else says so."""

    met = False

    @override
    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self.met = self.met or (error is not None and is_obstacle(error))


class Worker:
    """The executing side. One in each worker process; `slot` is stable across restarts."""

    def __init__(self, url: str, *, slot: str, studies_at_once: int, log_level: str) -> None:
        prepare(url)
        self._studies_at_once = studies_at_once
        config: DBOSConfig = {
            "name": _NAME,
            "system_database_url": url,
            "application_version": _VERSION,
            "executor_id": slot,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": log_level.upper(),
            "enable_otlp": False,
            "notification_listener_polling_interval_sec": 1.0,
        }
        DBOS(config=config)
        self._stumbles = _Stumbles()
        logging.getLogger("dbos").addHandler(self._stumbles)

    def launch(self) -> None:
        """Start working: what this slot left unfinished goes on first."""
        DBOS.listen_queues([_STUDY_QUEUE])
        DBOS.launch()
        DBOS.register_queue(
            _STUDY_QUEUE,
            worker_concurrency=self._studies_at_once,
            polling_interval_sec=_POLL_S,
            on_conflict="always_update",
        )

    @property
    def stumbled(self) -> bool:
        """Whether the end of some work could not be recorded: it goes on at the next start."""
        return self._stumbles.met

    def take_over(self, slot: str) -> tuple[str, ...]:
        """Let what a dead worker left unfinished go on in a live one; return its ids.

        This is what the engine does for its own slot at its start. Unlike the public `resume` it
        moves only what is still the dead slot's, and it keeps the count of starts, so that what
        ends one process after the other is set aside all the same.
        """
        moved = DBOS._recover_pending_workflows([slot])  # noqa: SLF001
        return tuple(handle.workflow_id for handle in moved)


class Client:
    """Everyone else's side: start, look at and steer work without executing any.

    While the database is away every call fails at once, so that who calls can try again soon; the
    engine itself would hold it for up to a minute more.
    """

    def __init__(self, url: str) -> None:
        prepare(url)
        self._engine = schema.connect(url)
        self._client = DBOSClient(
            system_database_url=url,
            serializer=DBOSPortableJSONSerializer(),
            application_name=_NAME,
            retry_connection_errors=False,
        )

    def start(self, name: str, work_id: str, *args: object, priority: int) -> None:
        """Enqueue workflow `name`; the same `work_id` again changes nothing."""
        options: _EnqueueOptions = {
            "workflow_name": name,
            "queue_name": _STUDY_QUEUE,
            "workflow_id": work_id,
            "app_version": _VERSION,
            "priority": priority,
        }
        self._client.enqueue(options, work_id, *args)

    def reorder(self, work_id: str, priority: int) -> None:
        """Give a workflow that is still enqueued another priority."""
        where = "" if self._engine.dialect.name == "sqlite" else "dbos."
        statement = sa.text(
            f"UPDATE {where}workflow_status SET priority = :priority "  # noqa: S608 - two literals
            "WHERE workflow_uuid = :work_id AND status = 'ENQUEUED'"
        )
        with self._engine.begin() as connection:
            connection.execute(statement, {"priority": priority, "work_id": work_id})

    def find(self, work_id: str) -> Work:
        """Return one workflow.

        Raises
        ------
        NotFound
            The engine does not know it.
        """
        found = self._client.list_workflows(workflow_ids=[work_id])
        if not found:
            msg = f"there is no workitem {work_id}"
            raise NotFound(msg)
        status = found[0]
        return Work(work_id=work_id, status=status.status, executor_id=status.executor_id)

    def busy_slots(self) -> frozenset[str]:
        """Return the slots, live or dead, that have begun work which is not finished."""
        begun = self._client.list_workflows(status="PENDING", load_input=False, load_output=False)
        return frozenset(status.executor_id for status in begun if status.executor_id)

    def cancel(self, work_ids: Sequence[str]) -> None:
        """Stop workflows before their next step."""
        self._client.cancel_workflows(list(work_ids))

    def forget(self, prefix: str) -> bool:
        """Delete workflows whose id begins so, unless one of them is unfinished; say which."""
        found = self._client.list_workflows(
            workflow_id_prefix=prefix, load_input=False, load_output=False
        )
        if any(status.status in _ACTIVE for status in found):
            return False
        self._client.delete_workflows([status.workflow_id for status in found])
        return True

    def children(self, work_id: str) -> tuple[str, ...]:
        """Return the ids of unfinished workflows that `work_id` started, by their common prefix."""
        found = self._client.list_workflows(workflow_id_prefix=f"{work_id}/", status=list(_ACTIVE))
        return tuple(status.workflow_id for status in found)


def leave(code: int = 0) -> NoReturn:
    """End a worker's process at once: what runs goes on at the next start of this slot.

    Waiting for the engine's threads would take up to ten seconds and save nothing.
    """
    logging.shutdown()
    os._exit(code)


def prepare(url: str) -> None:
    """Make the engine's database ready, its schema brought up to date; safe in several processes.

    An SQLite file gets a write-ahead log and is private to the user: who may write it may run code.
    """
    if not url.startswith("sqlite:///"):
        DBOS.migrate(url)
        return
    path = Path(url.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():  # closing it drops this process's locks: only before SQLite has any
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(path, timeout=30)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
        DBOS.migrate(url)
