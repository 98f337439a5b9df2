"""What peers do over DIMSE, as the listener tells it to the audit trail."""

import threading
from io import BytesIO

from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.events import Event

from dicom_node.audit.auditor import Audit
from dicom_node.audit.kinds import DESTINATION, Kind
from dicom_node.audit.message import SERIOUS, Actor, AuditEvent, Query
from dicom_node.audit.transfers import Transfer, caller
from dicom_node.ingest import Stored
from dicom_node.records import Added


class PeerAudit:
    """Tells what peers bring, ask, and are refused; `process` is the listener."""

    def __init__(self, audit: Audit, process: Actor) -> None:
        self._audit, self._process = audit, process
        self._open: dict[Association, Transfer] = {}
        self._lock = threading.Lock()

    def refused(self, calling: str, address: str, why: str) -> None:
        """Tell of a peer that was not let in; of one address that insists only now and then."""
        title = calling.strip()
        peer = Actor(user=title, ae_title=title, address=address, asked=False)
        event = AuditEvent(
            kind=Kind.REFUSED,
            actors=(Actor(user=self._process.user, asked=True), peer),
            about=title or address,
            outcome=SERIOUS,
            text=why,
        )
        self._audit.note(event, visit=(Kind.REFUSED, address, why))

    def stored(self, event: Event, stored: Stored) -> None:
        """Count an instance that was taken in."""
        transfer, record = self._transfer(event), stored.record
        transfer.begin(record.study_uid, stored.header.patient.patient_id)
        repeated = stored.added is not Added.NEW
        transfer.moved(record.study_uid, record.sop_class_uid, repeated=repeated)

    def failed(self, event: Event) -> None:
        """Count an instance that was refused."""
        self._transfer(event).failed()

    def ended(self, association: Association | None) -> None:
        """Tell what an association brought, and any that ended unseen; ``None`` means all."""
        with self._lock:
            over = [
                each for each in self._open if association in {None, each} or not each.is_alive()
            ]
            transfers = [self._open.pop(each) for each in over]
        for transfer in transfers:
            transfer.end()

    def asked(self, event: Event) -> None:
        """Tell of a query; the same again only now and then."""
        request, peer = event.request, caller(event)
        assert isinstance(request, C_FIND)
        identifier = request.Identifier or BytesIO()
        query = Query(
            what=str(request.AffectedSOPClassUID),
            asked=identifier.getvalue(),
            syntax=str(event.context.transfer_syntax),
        )
        ours = Actor(user=self._process.user, role=DESTINATION, ae_title=self._process.ae_title)
        told = AuditEvent(kind=Kind.QUERIED, actors=(peer, ours), query=query)
        self._audit.note(told, visit=(peer, query))

    def sending(self, destination: Actor, *, asked_by: Actor | None = None) -> Transfer:
        """Return what tells of instances that a peer fetches, or has sent elsewhere."""
        ours = Actor(user=self._process.user, ae_title=self._process.ae_title)
        others = (asked_by,) if asked_by else ()
        return Transfer(self._audit, source=ours, destination=destination, others=others)

    def _transfer(self, event: Event) -> Transfer:
        with self._lock:
            found = self._open.get(event.assoc)
            if found is None:
                found = Transfer(self._audit, source=caller(event), destination=self._process)
                self._open[event.assoc] = found
        return found
