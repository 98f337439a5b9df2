"""What becomes of audit records: sent on, removed when they are old enough, their head logged."""

import contextlib
import time
from dataclasses import replace

import structlog
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.audit.kinds import Kind
from dicom_node.audit.message import AuditEvent
from dicom_node.audit.syslog import Export
from imaging.errors import SetupError
from serving.parts import Parts

_log = structlog.get_logger(__name__)
_SLOT = "audit"  # no worker, but which of them does this
_LOOK_S = 2.0
_DAY_S, _HOUR_S, _MINUTE_S = 86400.0, 3600.0, 60.0


class AuditKeeper:
    """Looks after the audit trail, in one process at a time."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._settings = parts, parts.settings.audit
        self._head_at = self._removed_at = 0.0

    def run(self) -> None:
        """Go on for ever."""
        while True:
            with contextlib.suppress(SetupError, SQLAlchemyError):  # another process does; or away
                self._keep()
            time.sleep(_LOOK_S)

    def _keep(self) -> None:
        with self._parts.slots.taken(_SLOT) as still_held:
            while still_held():
                try:
                    self.look(time.time())
                except (SQLAlchemyError, OSError) as error:
                    _log.warning("audit_keeper_waits", why=type(error).__name__)
                time.sleep(_LOOK_S)

    def look(self, now: float) -> None:
        """Do what is due.

        Raises
        ------
        OSError
            The collector cannot be reached; until it is, nothing is removed.
        """
        if now - self._head_at >= self._settings.head_min * _MINUTE_S:
            self._head_at = now
            head = self._parts.audit_chain.head()
            _log.info("audit_head", number=head.number, digest=head.digest)
        self._export()
        if self._settings.keep_days and now - self._removed_at >= _HOUR_S:
            self._removed_at = now
            self._remove(now)

    def _export(self) -> None:
        if self._settings.syslog:
            Export(
                self._parts.index.engine,
                self._parts.audit_chain,
                tenant=self._parts.settings.tenant,
                url=self._settings.syslog,
                ca=self._settings.syslog_ca,
            ).run()

    def _remove(self, now: float) -> None:
        before = now - self._settings.keep_days * _DAY_S
        event = AuditEvent(
            kind=Kind.RECORDS_REMOVED,
            actors=(replace(self._parts.auditor.process, asked=True),),
            about="audit",
            text=f"records older than {self._settings.keep_days:g} days",
        )
        if gone := self._parts.audit_chain.forget(event, before=before, at=now):
            _log.info("audit_records_removed", records=gone)
