"""Storage commitment (PS3.4 J): its data sets and the answer's way.

A requester asks by N-ACTION that instances be kept safe; the provider says by N-EVENT-REPORT, at
once or much later, on the same association or a new one, which of them it answers for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydicom import Dataset
from pynetdicom import build_role
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from dicom_node.peers import Peer
from dicom_node.scu import Timeouts, association, problem
from imaging.errors import MalformedInstance
from imaging.identity import AETitle, checked_uid

WELL_KNOWN_INSTANCE = "1.2.840.10008.1.20.1.1"
REQUEST = 1
ALL_KEPT, SOME_FAILED = 1, 2
NO_SUCH_INSTANCE, CLASS_INSTANCE_CONFLICT = 0x0112, 0x0119
_PROCESSING_FAILURE, _INVALID_ARGUMENT, _SUCCESS = 0x0110, 0x0115, 0x0000


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """An instance as commitment names it."""

    sop_class_uid: str
    instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a provider says of a transaction; `failed` gives the Failure Reason (0008,1197)."""

    transaction_uid: str
    kept: tuple[Named, ...]
    failed: Mapping[Named, int]


def requested(information: Dataset) -> tuple[str, tuple[Named, ...]]:
    """Return the transaction and the instances of an N-ACTION (PS3.4 table J.3-1).

    Raises
    ------
    MalformedInstance
        A UID is missing or is none.
    """
    named = tuple(map(_named, information.get("ReferencedSOPSequence") or ()))
    if not named:
        msg = "no instance is named"
        raise MalformedInstance(msg)
    return _transaction(information), named


def answered(information: Dataset) -> Answer:
    """Return what an N-EVENT-REPORT says (PS3.4 table J.3-2); `MalformedInstance` as above."""
    failed = {
        _named(item): int(item.get("FailureReason") or _PROCESSING_FAILURE)
        for item in information.get("FailedSOPSequence") or ()
    }
    kept = tuple(map(_named, information.get("ReferencedSOPSequence") or ()))
    return Answer(transaction_uid=_transaction(information), kept=kept, failed=failed)


def tell(peer: Peer, answer: Answer, *, ae_title: AETitle, timeouts: Timeouts) -> str | None:
    """Answer a transaction on a new association; return what went wrong, if anything did."""
    context = [build_context(StorageCommitmentPushModel)]
    role = [build_role(StorageCommitmentPushModel, scp_role=True)]
    with association(peer, context, ae_title, timeouts=timeouts, negotiation=role) as opened:
        if not opened.is_established:
            return problem(opened)
        if not opened.accepted_contexts:
            return "the peer takes no answer to its storage commitment request"
        return tell_on(opened, answer)


def tell_on(opened: Association, answer: Answer) -> str | None:
    """Answer a transaction on an open association."""
    status, _ = opened.send_n_event_report(
        _report(answer),
        SOME_FAILED if answer.failed else ALL_KEPT,
        StorageCommitmentPushModel,
        WELL_KNOWN_INSTANCE,
    )
    return None if status.get("Status") == _SUCCESS else said("N-EVENT-REPORT", status)


def reporting(note: Callable[[Answer], bool]) -> Callable[[Event], tuple[int, None]]:
    """Return a handler of N-EVENT-REPORT; `note` says whether the transaction is known."""

    def report(event: Event) -> tuple[int, None]:
        try:
            known = note(answered(event.event_information))
        except MalformedInstance:
            return _INVALID_ARGUMENT, None
        return (_SUCCESS if known else NO_SUCH_INSTANCE), None

    return report


def request(transaction_uid: str, named: Sequence[Named]) -> Dataset:
    """Return the data set of an N-ACTION."""
    ds = Dataset()
    ds.TransactionUID = transaction_uid
    ds.ReferencedSOPSequence = [_item(each) for each in named]
    return ds


def _report(answer: Answer) -> Dataset:
    ds = Dataset()
    ds.TransactionUID = answer.transaction_uid
    if answer.kept:
        ds.ReferencedSOPSequence = [_item(each) for each in answer.kept]
    if answer.failed:
        ds.FailedSOPSequence = [_item(each) for each in answer.failed]
        for item, why in zip(ds.FailedSOPSequence, answer.failed.values(), strict=True):
            item.FailureReason = why
    return ds


def _item(named: Named) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = named.sop_class_uid
    item.ReferencedSOPInstanceUID = named.instance_uid
    return item


def _named(item: Dataset) -> Named:
    return Named(
        sop_class_uid=checked_uid(item.get("ReferencedSOPClassUID"), "Referenced SOP Class UID"),
        instance_uid=checked_uid(
            item.get("ReferencedSOPInstanceUID"), "Referenced SOP Instance UID"
        ),
    )


def _transaction(information: Dataset) -> str:
    return checked_uid(information.get("TransactionUID"), "Transaction UID")


def said(message: str, status: Dataset) -> str:
    """Return what is wrong with the answer to a message, in words."""
    code = status.get("Status")
    return f"no answer to {message}" if code is None else f"{message} status {code:04X}"
