"""Asking peers: C-ECHO, Study Root C-FIND and C-MOVE, each on an association of its own."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pynetdicom import _config, evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.events import Event, EventHandlerType
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from dicom_node.archive import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION
from dicom_node.connection import send_at_once
from dicom_node.listener import LARGEST_PDU, bound
from dicom_node.peers import Peer
from dicom_node.reactor import hold
from dicom_node.tls import ClientContext, client_context
from imaging.identity import AETitle

_log = logging.getLogger(__name__)
_SUCCESS = 0x0000
_MOST_MATCHES = 100_000
_LONGEST_FIND = 5  # times as long as one answer may take
_PLAIN = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds to wait for a peer to connect and to answer each message."""

    connect_s: float = 5.0
    reply_s: float = 60.0


def echo(peer: Peer, *, ae_title: AETitle, timeouts: Timeouts | None = None) -> str | None:
    """Return what is wrong with the way to `peer`, or ``None`` when it answers C-ECHO."""
    with association(peer, [build_context(Verification)], ae_title, timeouts=timeouts) as opened:
        if not opened.is_established:
            return problem(opened)
        if not opened.accepted_contexts:
            return "the peer does not accept Verification"
        status = opened.send_c_echo().get("Status")
        if status == _SUCCESS:
            return None
        return "no answer to C-ECHO" if status is None else f"C-ECHO status {status:04X}"


def series_counts(
    peer: Peer, study_uid: str, *, ae_title: AETitle, timeouts: Timeouts | None = None
) -> Mapping[str, int] | None:
    """Return how many instances of each series of a study the peer has.

    ``None`` when it gives no usable answer; empty when it does not know the study. Where it leaves
    out Number of Series Related Instances (0020,1209), which is optional, instances are counted.
    """
    keys = Dataset()
    keys.QueryRetrieveLevel = "SERIES"
    keys.StudyInstanceUID = study_uid
    keys.SeriesInstanceUID = ""
    keys.NumberOfSeriesRelatedInstances = ""
    with _finder(peer, ae_title, timeouts) as opened:
        found = _find(opened, keys)
        if found is None:
            return None
        counts = {_series(answer): _size(opened, study_uid, answer) for answer in found}
    known = {uid: count for uid, count in counts.items() if count is not None}
    return known if len(known) == len(counts) else None


def stored_instances(
    peer: Peer,
    series: Sequence[tuple[str, str]],
    *,
    ae_title: AETitle,
    timeouts: Timeouts | None = None,
) -> frozenset[str]:
    """Return the UIDs of the instances of (study, series) that the peer says it has."""
    with _finder(peer, ae_title, timeouts) as opened:
        answers = [_find(opened, _instance_keys(*uids)) or [] for uids in series]
    return frozenset(str(a.get("SOPInstanceUID", "")) for found in answers for a in found)


def study_answers(
    peer: Peer, study_uid: str, *, ae_title: AETitle, timeouts: Timeouts | None = None
) -> tuple[Dataset, ...] | None:
    """Return what the peer says of a study, whose it is; ``None`` when it gives no answer.

    Empty when it does not know the study, more than one when it knows it under several patients.
    """
    keys = Dataset()
    keys.QueryRetrieveLevel = "STUDY"
    for keyword in ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate",
                    "PatientSex", "AccessionNumber"):  # fmt: skip
        setattr(keys, keyword, "")
    keys.StudyInstanceUID = study_uid
    with _finder(peer, ae_title, timeouts) as opened:
        found = _find(opened, keys)
    return (
        None if found is None else tuple(a for a in found if a.get("StudyInstanceUID") == study_uid)
    )


def move_series(
    peer: Peer,
    study_uid: str,
    series_uid: str,
    *,
    ae_title: AETitle,
    timeouts: Timeouts | None = None,
) -> str | None:
    """Have the peer send a series to us; return what went wrong, or ``None`` when all was sent."""
    keys = Dataset()
    keys.QueryRetrieveLevel = "SERIES"
    keys.StudyInstanceUID, keys.SeriesInstanceUID = study_uid, series_uid
    context = build_context(StudyRootQueryRetrieveInformationModelMove, _PLAIN)
    with association(peer, [context], ae_title, timeouts=timeouts) as opened:
        if not opened.is_established:
            return problem(opened)
        if not opened.accepted_contexts:
            return "the peer does not offer C-MOVE"
        last: int | None = None
        model = StudyRootQueryRetrieveInformationModelMove
        for status, _ in opened.send_c_move(keys, ae_title, model):
            last = status.get("Status")
    if last == _SUCCESS:
        return None
    return "no answer to C-MOVE" if last is None else f"C-MOVE status {last:04X}"


@contextmanager
def association(
    peer: Peer,
    contexts: Sequence[PresentationContext],
    ae_title: AETitle,
    *,
    timeouts: Timeouts | None = None,
    handlers: Sequence[EventHandlerType] = (),
    negotiation: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
) -> Iterator[Association]:
    """Give an association with `peer`, established or not; it ends with the block."""
    waits = timeouts or Timeouts()
    _config.LOG_HANDLER_LEVEL = "none"  # those handlers render every message, patients included
    ae = ApplicationEntity(ae_title)
    ae.implementation_class_uid = IMPLEMENTATION_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION
    ae.connection_timeout = waits.connect_s
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = waits.reply_s
    try:
        opened = ae.associate(
            peer.host,
            peer.port,
            contexts=list(contexts),
            ext_neg=list(negotiation),
            **calling(peer, handlers),
        )
    except OSError:  # its name has no address
        yield Association(ae, "requestor")
        return
    if opened.is_established:
        hold(opened)
    try:
        yield opened
    finally:
        if opened.is_established:
            opened.acse_timeout = waits.connect_s  # all is said: a lost answer must hold up nobody
            opened.release()


def calling(peer: Peer, handlers: Sequence[EventHandlerType] = ()) -> dict[str, Any]:
    """Return how pynetdicom is to call a peer, beside what is asked of it."""
    return {
        "tls_args": _tls(peer),
        "ae_title": peer.ae_title,
        "max_pdu": LARGEST_PDU,
        "evt_handlers": [(evt.EVT_CONN_OPEN, _prepare), *handlers],
    }


def _tls(peer: Peer) -> tuple[ClientContext, str] | None:
    """Return context and host name for calling `peer`; files are read anew for each association."""
    if peer.tls is None or not peer.tls.call:
        return None
    context = client_context(
        peer.tls.files, verify_host=peer.tls.verify_host, accepts=peer.tls.accepts
    )
    return context, peer.host


def problem(opened: Association) -> str:
    """Return why an association is not established, in words."""
    if opened.is_rejected:
        answer = opened.acceptor.primitive
        return f"the peer refused the association: {answer.reason_str}" if answer else "refused"
    wrapped = opened.dul.socket
    context = wrapped.tls_args[0] if wrapped is not None and wrapped.tls_args else None
    if isinstance(context, ClientContext) and context.problem:
        return f"the peer cannot be reached: {context.problem}"
    if opened.is_aborted:
        return "the association was aborted or the peer cannot be reached"
    return "the peer cannot be reached: its host name has no address"


@contextmanager
def _finder(peer: Peer, ae_title: AETitle, timeouts: Timeouts | None) -> Iterator[Association]:
    context = build_context(StudyRootQueryRetrieveInformationModelFind, _PLAIN)
    with association(peer, [context], ae_title, timeouts=timeouts) as opened:
        yield opened


def _find(opened: Association, keys: Dataset) -> list[Dataset] | None:
    """Return the matches; ``None`` when the peer does not answer properly to the end."""
    if not opened.is_established or not opened.accepted_contexts:
        return None
    found: list[Dataset] = []
    last: int | None = None
    began, longest_s = time.monotonic(), _LONGEST_FIND * (opened.dimse_timeout or 0.0)
    try:
        for status, answer in opened.send_c_find(keys, StudyRootQueryRetrieveInformationModelFind):
            last = status.get("Status")
            if answer is not None:
                found.append(answer)
            if len(found) > _MOST_MATCHES or time.monotonic() - began > longest_s:
                opened.abort()
                return None
    except (ValueError, RuntimeError):
        _log.warning("C-FIND failed", extra={"peer": opened.acceptor.ae_title}, exc_info=True)
        return None
    return found if last == _SUCCESS else None


def _instance_keys(study_uid: str, series_uid: str) -> Dataset:
    keys = Dataset()
    keys.QueryRetrieveLevel = "IMAGE"
    keys.StudyInstanceUID = study_uid
    keys.SeriesInstanceUID = series_uid
    keys.SOPInstanceUID = ""
    return keys


def _series(answer: Dataset) -> str:
    return str(answer.get("SeriesInstanceUID", ""))


def _size(opened: Association, study_uid: str, answer: Dataset) -> int | None:
    try:
        return int(answer.NumberOfSeriesRelatedInstances)
    except (AttributeError, TypeError, ValueError):
        instances = _find(opened, _instance_keys(study_uid, _series(answer)))
        return None if instances is None else len(instances)


def _prepare(event: Event) -> None:
    bound(event.assoc)
    wrapped = event.assoc.dul.socket
    if wrapped is not None and wrapped.socket is not None:
        send_at_once(wrapped.socket)
