"""Takes in what happens and writes it: at once, or from a thread that nobody waits for."""

import logging
import threading
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from dicom_node.audit.chain import AuditChain
from dicom_node.audit.kinds import LAUNCHER, Kind
from dicom_node.audit.message import Actor, AuditEvent
from imaging.errors import NotFound

_log = logging.getLogger(__name__)
_MOST_WAITING = 100_000
_TIDY_AT = 10_000
_TOGETHER = 500
_RETRY_S = 1.0
_STOP_S = 5.0
_GATHER_S = 0.25  # many events share a commit, so that it seldom delays those of the listener


class Audit(Protocol):
    """Where events go."""

    def note(self, event: AuditEvent, *, visit: Hashable | None = None) -> None:
        """Take an event in without waiting; of one `visit` only the first in a while."""


class Silent:
    """Keeps nothing."""

    def note(self, event: AuditEvent, *, visit: Hashable | None = None) -> None:
        """Keep nothing."""


class Auditor:
    """Writes the events of one process into the chain; safe to share between threads.

    `process` is this process, `account` whose it is in the operating system; `patient_of` gives
    the patient ID of a study; `clock` gives Unix seconds. What is noted and not yet written is
    lost when the process is killed.
    """

    def __init__(
        self,
        chain: AuditChain,
        *,
        process: Actor,
        account: str,
        patient_of: Callable[[str], str],
        clock: Callable[[], float],
        visit_s: float,
    ) -> None:
        self._chain, self.process, self._account = chain, process, account
        self._patient_of, self._clock, self._visit_s = patient_of, clock, visit_s
        self._waiting: list[tuple[float, AuditEvent]] = []
        self._visits: dict[Hashable, float] = {}
        self._tidy_at = _TIDY_AT
        self._lock, self._some = threading.Lock(), threading.Event()
        self._writing, self._stopping = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def start(self) -> None:
        """Say that this process has started, and write from now on what is noted."""
        self.write(self._activity(Kind.STARTED))
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, and that this process stops."""
        self.note(self._activity(Kind.STOPPED))
        self._stopping.set()
        self._some.set()
        self._thread.join(timeout=_STOP_S)

    def note(self, event: AuditEvent, *, visit: Hashable | None = None) -> None:
        """Take an event in without waiting; of one `visit` only the first in a while."""
        now = self._clock()
        with self._lock:
            if visit is not None and self._is_known(visit, now):
                return
            full = len(self._waiting) >= _MOST_WAITING
            if not full:
                self._waiting.append((now, event))
        if full:
            _log.error("audit record lost", extra={"kind": event.kind.name})
        self._some.set()

    def write(self, event: AuditEvent) -> None:
        """Store an event; durable when this returns. What was noted before goes before it.

        Raises
        ------
        SQLAlchemyError
            The database cannot be written.
        """
        with self._writing:
            self._flush()
            self._chain.append([(self._clock(), self._whole(event))])

    def flush(self) -> None:
        """Write what was noted."""
        with self._writing:
            self._flush()

    def _flush(self) -> None:
        while True:
            with self._lock:
                batch = self._waiting[:_TOGETHER]
            if not batch:
                return
            self._chain.append([(at, self._whole(event)) for at, event in batch])
            with self._lock:
                del self._waiting[: len(batch)]

    def _run(self) -> None:
        while not self._stopping.is_set() or self._waiting:
            self._some.wait()
            self._stopping.wait(_GATHER_S)
            self._some.clear()
            try:
                self.flush()
            except SQLAlchemyError:
                _log.exception("audit waits for the database")
                if self._stopping.wait(_RETRY_S):
                    return
                self._some.set()

    def _is_known(self, visit: Hashable, now: float) -> bool:
        if len(self._visits) >= self._tidy_at:
            self._visits = {k: t for k, t in self._visits.items() if now - t < self._visit_s}
            self._tidy_at = max(_TIDY_AT, 2 * len(self._visits))
        began = self._visits.get(visit)
        if began is not None and now - began < self._visit_s:
            return True
        self._visits[visit] = now
        return False

    def _whole(self, event: AuditEvent) -> AuditEvent:
        """Add the patient of a study that is here."""
        if event.patient_id or not event.study_uid:
            return event
        try:
            return replace(event, patient_id=self._patient_of(event.study_uid))
        except NotFound:
            return event

    def _activity(self, kind: Kind) -> AuditEvent:
        launcher = Actor(user=self._account, role=LAUNCHER, asked=True)
        return AuditEvent(kind=kind, actors=(self.process, launcher))
