"""Bringing instances to a peer by C-STORE: one attempt, and the proof that they are there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, ImplicitVRLittleEndian
from pynetdicom import _config
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context

from dicom_node.checks import NATIVE
from dicom_node.outcome import SOP_CLASS_NOT_SUPPORTED, SendOutcome, outcome_of
from dicom_node.peers import Peer
from dicom_node.scu import Timeouts, association, problem, stored_instances
from imaging.findings import ObjectRef
from imaging.identity import AETitle

_MOST_CONTEXTS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    path: Path
    sop_class_uid: UID
    instance_uid: str
    transfer_syntax_uid: UID

    @property
    def kind(self) -> tuple[UID, UID]:
        return self.sop_class_uid, self.transfer_syntax_uid


def send(
    peer: Peer, paths: Sequence[Path], *, ae_title: AETitle, timeouts: Timeouts | None = None
) -> SendOutcome:
    """Send Part 10 files by C-STORE on one association, as they are stored.

    Only to a peer that refuses the transfer syntax of an uncompressed file is it re-encoded, to
    Implicit VR Little Endian, which every peer must take (PS3.5 10.1).
    """
    files = [_file(path) for path in paths]
    statuses: dict[str, int | None] = dict.fromkeys(file.instance_uid for file in files)
    _config.STORE_SEND_CHUNKED_DATASET = True  # a path is then sent without decoding it
    with association(peer, _contexts(files), ae_title, timeouts=timeouts) as opened:
        if opened.is_established:
            statuses |= _store_all(opened, files)
        elif opened.rejected_contexts:  # all of them: pynetdicom then ends the association
            statuses = dict.fromkeys(statuses, SOP_CLASS_NOT_SUPPORTED)
        else:
            return SendOutcome(statuses={}, text=problem(opened))
    return outcome_of(statuses)


def proof(
    peer: Peer,
    refs: Sequence[ObjectRef],
    *,
    ae_title: AETitle,
    timeouts: Timeouts | None = None,
) -> frozenset[str]:
    """Return those of `refs` that the peer, asked by C-FIND, says it has."""
    if not peer.query:
        return frozenset()
    series = sorted({(ref.study_uid, ref.series_uid) for ref in refs})
    there = stored_instances(peer, series, ae_title=ae_title, timeouts=timeouts)
    return there & {ref.instance_uid for ref in refs}


def _file(path: Path) -> _File:
    meta = read_file_meta_info(path)
    return _File(
        path=path,
        sop_class_uid=meta.MediaStorageSOPClassUID,
        instance_uid=str(meta.MediaStorageSOPInstanceUID),
        transfer_syntax_uid=meta.TransferSyntaxUID,
    )


def _contexts(files: Sequence[_File]) -> list[PresentationContext]:
    """One context for each SOP class as stored, and one for re-encoding where that is possible."""
    native = (f.sop_class_uid for f in files if f.transfer_syntax_uid in NATIVE)
    kinds = dict.fromkeys(file.kind for file in files)
    kinds |= dict.fromkeys((sop_class, ImplicitVRLittleEndian) for sop_class in native)
    return [build_context(*kind) for kind in kinds][:_MOST_CONTEXTS]


def _store_all(opened: Association, files: Sequence[_File]) -> Mapping[str, int | None]:
    statuses: dict[str, int | None] = {}
    for number, file in enumerate(files):
        if not opened.is_established:
            break
        statuses[file.instance_uid] = _store(opened, file, number)
    return statuses


def _store(opened: Association, file: _File, number: int) -> int | None:
    accepted = {(c.abstract_syntax, c.transfer_syntax[0]) for c in opened.accepted_contexts}
    takes_implicit = (file.sop_class_uid, ImplicitVRLittleEndian) in accepted
    if file.kind in accepted:
        answer = opened.send_c_store(file.path, msg_id=number % 0xFFFF + 1)
    elif takes_implicit and file.transfer_syntax_uid in NATIVE:
        answer = opened.send_c_store(dcmread(file.path), msg_id=number % 0xFFFF + 1)
    else:
        return SOP_CLASS_NOT_SUPPORTED
    status = answer.get("Status")
    return None if status is None else int(status)
