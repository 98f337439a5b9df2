"""The retrieve SCP: Study Root C-MOVE, to configured peers only, and C-GET (PS3.4 C.4.2, C.4.3)."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.events import Event, EventHandlerType
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.archive import Archive
from dicom_node.audit.message import Actor
from dicom_node.audit.peers import PeerAudit
from dicom_node.audit.transfers import Transfer, caller
from dicom_node.index import Index
from dicom_node.peers import AssociationPolicy, Peer
from dicom_node.query_scp import (
    CANCELED,
    DOES_NOT_MATCH,
    PENDING,
    UNABLE,
    UNIQUE,
    keys_of,
    level_of,
    rows,
)
from dicom_node.scu import calling
from dicom_node.searching import Level, Searches
from imaging.errors import InputError

_log = logging.getLogger(__name__)
_MOST_CONTEXTS = 128
Step = tuple[Any, ...] | int


class RetrieveProvider:
    """Sends what is asked for, as it is stored; who may ask the accepted contexts have decided."""

    def __init__(
        self, index: Index, archive: Archive, *, policy: AssociationPolicy, audit: PeerAudit
    ) -> None:
        self._index, self._archive, self._policy, self._audit = index, archive, policy, audit
        self._searches = Searches(index.engine, index.tenant)

    def handlers(self) -> list[EventHandlerType]:
        """Return the handlers for the listener."""
        return [(evt.EVT_C_MOVE, self._move), (evt.EVT_C_GET, self._get)]

    def _move(self, event: Event) -> Iterator[Step]:
        """Yield where to, how many, and each instance, as pynetdicom wants it."""
        peer = self._policy.destination(str(event.move_destination))
        if peer is None:
            yield None, None
            return
        found = self._wanted(event)
        kinds = [] if isinstance(found, int) else [(row[1], row[2]) for row in found]
        yield peer.host, peer.port, _options(peer, kinds)
        to = Actor(user=peer.name, ae_title=peer.ae_title, address=peer.host)
        yield from self._each(event, found, self._audit.sending(to, asked_by=caller(event)))

    def _get(self, event: Event) -> Iterator[Step]:
        yield from self._each(event, self._wanted(event), self._audit.sending(caller(event)))

    def _each(
        self, event: Event, found: Sequence[tuple[str, str, str]] | int, transfer: Transfer
    ) -> Iterator[Step]:
        if isinstance(found, int):
            yield 1
            yield found, None
            return
        yield len(found)
        try:
            for instance_uid, sop_class_uid, _ in found:
                if event.is_cancelled:
                    yield CANCELED, None
                    return
                yield PENDING, self._read(instance_uid, sop_class_uid, transfer)
        finally:
            transfer.end()

    def _wanted(self, event: Event) -> Sequence[tuple[str, str, str]] | int:
        """Return instance, SOP class and transfer syntax of each, or the status of a failure."""
        try:
            identifier = event.identifier
            level = level_of(identifier)
            named = keys_of(identifier, level)
            keys = {name: named.get(name, "") for at, name in UNIQUE.items() if at <= level}
            if not all(value.strip("*") for value in keys.values()):
                return DOES_NOT_MATCH
            found = rows(self._searches, Level.INSTANCE, keys)
            return [
                (row["instance_uid"], row["sop_class_uid"], row["transfer_syntax_uid"])
                for row in found
            ]
        except InputError:
            return DOES_NOT_MATCH
        except SQLAlchemyError:
            _log.exception("retrieval fails")
            return UNABLE

    def _read(self, instance_uid: str, sop_class_uid: str, transfer: Transfer) -> Dataset:
        """Return an instance; of one that cannot be read only the name, which counts as failed."""
        stored = self._index.instance(instance_uid)
        try:
            if stored is not None:
                transfer.begin(stored.study_uid)
                ds = dcmread(self._archive.file(stored.path))
                transfer.moved(stored.study_uid, sop_class_uid)
                return ds
        except (OSError, ValueError, AttributeError):
            _log.exception("instance not read", extra={"instance": instance_uid})
        transfer.failed()
        nothing = Dataset()
        nothing.SOPClassUID, nothing.SOPInstanceUID = sop_class_uid, instance_uid
        return nothing


def _options(peer: Peer, kinds: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return how the peer is called: each kind of instance as it is stored."""
    contexts = [build_context(UID(sop), UID(syntax)) for sop, syntax in dict.fromkeys(kinds)]
    chosen = contexts[:_MOST_CONTEXTS] or [build_context(Verification)]  # some it must be
    return calling(peer) | {"contexts": chosen}
