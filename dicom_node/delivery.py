"""Bringing instances to a peer: one attempt, and the proof that they are there."""

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
from dicom_node.peers import Peer
from dicom_node.scu import Timeouts, association, problem, stored_instances
from imaging.findings import ObjectRef
from imaging.identity import AETitle

_SUCCESS = 0x0000
_WARNING_FIRST, _WARNING_LAST = 0xB000, 0xBFFF  # stored, with remarks
_SOP_CLASS_NOT_SUPPORTED = 0x0122
_DUPLICATE_INSTANCE = 0x0111  # it is there already, as a query will show
_PASSING = frozenset({0x0110, _DUPLICATE_INSTANCE})  # 0110: processing failure
_PERMANENT = (range(0x0100, 0x0200), range(0xA900, 0xAA00), range(0xC000, 0xD000))
_WORDS = {_SOP_CLASS_NOT_SUPPORTED: "the destination does not take this kind of object"}
_MOST_CONTEXTS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOutcome:
    """What became of each instance: its C-STORE status, ``None`` without an answer.

    `statuses` is empty when there was no association. `text` says what went wrong, and is empty
    when nothing did.
    """

    statuses: Mapping[str, int | None]
    text: str

    @property
    def stored(self) -> frozenset[str]:
        """What the peer says it has taken."""
        return frozenset(uid for uid, status in self.statuses.items() if _is_stored(status))

    @property
    def refused(self) -> frozenset[str]:
        """What was refused for what it is, so that trying again is of no use."""
        return frozenset(uid for uid, status in self.statuses.items() if _is_permanent(status))

    def words(self, instance_uid: str) -> str:
        """Return what the peer said about an instance."""
        return _words(self.statuses.get(instance_uid))


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
            statuses = dict.fromkeys(statuses, _SOP_CLASS_NOT_SUPPORTED)
        else:
            return SendOutcome(statuses={}, text=problem(opened))
    return _outcome(statuses)


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
        return _SOP_CLASS_NOT_SUPPORTED
    status = answer.get("Status")
    return None if status is None else int(status)


def _outcome(statuses: Mapping[str, int | None]) -> SendOutcome:
    failed = [status for status in statuses.values() if not _is_stored(status)]
    named = sorted(set(map(_words, failed)))
    text = f"{len(failed)} of {len(statuses)} not stored: {', '.join(named)}" if failed else ""
    return SendOutcome(statuses=statuses, text=text)


def _words(status: int | None) -> str:
    if status is None:
        return "no answer"
    return f"status {status:04X}" + (f" ({_WORDS[status]})" if status in _WORDS else "")


def _is_stored(status: int | None) -> bool:
    return status is not None and (status == _SUCCESS or _WARNING_FIRST <= status <= _WARNING_LAST)


def _is_permanent(status: int | None) -> bool:
    if status is None or status in _PASSING:
        return False
    return any(status in statuses for statuses in _PERMANENT)
