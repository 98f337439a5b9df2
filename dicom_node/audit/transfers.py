"""Instances on their way in or out: one message when a study begins, one when all is over."""

import threading
from collections import Counter, defaultdict
from dataclasses import replace

from pynetdicom.events import Event

from dicom_node.audit.auditor import Audit
from dicom_node.audit.kinds import DESTINATION, SOURCE, Kind
from dicom_node.audit.message import MINOR, Actor, AuditEvent


def caller(event: Event) -> Actor:
    """Return the application entity that asked for what happens."""
    requestor = event.assoc.requestor
    title = requestor.ae_title.strip()
    return Actor(user=title, ae_title=title, address=requestor.address, role=SOURCE, asked=True)


class Transfer:
    """What goes over one association, or with one request; safe to share between threads."""

    def __init__(
        self, audit: Audit, *, source: Actor, destination: Actor, others: tuple[Actor, ...] = ()
    ) -> None:
        self._audit = audit
        ends = replace(source, role=SOURCE), replace(destination, role=DESTINATION)
        self._actors = (*ends, *others)
        self._moved: dict[tuple[Kind, str], Counter[str]] = defaultdict(Counter)
        self._patients: dict[str, str] = {}
        self._failed = 0
        self._lock = threading.Lock()

    def begin(self, study_uid: str, patient_id: str = "") -> None:
        """Say that instances of a study are coming; once is enough."""
        with self._lock:
            known = study_uid in self._patients
            self._patients[study_uid] = patient_id
        if not known:
            self._say(Kind.TRANSFER_BEGUN, study_uid)

    def moved(self, study_uid: str, sop_class_uid: str, *, repeated: bool = False) -> None:
        """Count an instance that is now there, or was there before."""
        kind = Kind.REPEATED if repeated else Kind.TRANSFERRED
        with self._lock:
            self._moved[kind, study_uid][sop_class_uid] += 1

    def failed(self, instances: int = 1) -> None:
        """Count instances that did not arrive."""
        with self._lock:
            self._failed += instances

    def end(self) -> None:
        """Say what was transferred."""
        with self._lock:
            moved, self._moved = self._moved, defaultdict(Counter)
            failed, self._failed = self._failed, 0
        for (kind, study_uid), instances in moved.items():
            self._say(kind, study_uid, instances=instances)
        if failed:
            studies = list(self._patients)
            text = f"{failed} instances were not transferred"
            one = studies[0] if len(studies) == 1 else ""
            self._say(Kind.TRANSFERRED, one, outcome=MINOR, text=text)

    def _say(
        self,
        kind: Kind,
        study_uid: str,
        *,
        instances: Counter[str] | None = None,
        outcome: int = 0,
        text: str = "",
    ) -> None:
        event = AuditEvent(
            kind=kind,
            actors=self._actors,
            study_uid=study_uid,
            patient_id=self._patients.get(study_uid, ""),
            instances=instances or {},
            outcome=outcome,
            text=text,
        )
        self._audit.note(event)
