"""Bringing instances to a DICOMweb service: STOW-RS (PS3.18 10.5), and QIDO-RS as the proof.

One instance goes with each request, so that what the service says of a request, "too large" or
"not this kind", is said of that instance.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.filereader import read_file_meta_info

from dicom_node.outcome import (
    CANNOT_UNDERSTAND,
    SOP_CLASS_NOT_SUPPORTED,
    SUCCESS,
    SendOutcome,
    outcome_of,
)
from dicom_node.scu import Timeouts
from dicom_node.web_client import Upload, WebAnswer, ask
from dicom_node.web_peers import WebPeer
from imaging.findings import ObjectRef
from imaging.identity import derived_uid

_REFERENCED, _FAILED = "ReferencedSOPSequence", "FailedSOPSequence"
_STORED = (200, 202)
_NOT_HERE = (204, 404)
_CONFLICT = 409
# What is said of one instance, and so not worth repeating (PS3.18 tables 8.5-1 and 10.5.3-1).
_REFUSED = {
    400: (CANNOT_UNDERSTAND, "HTTP 400: bad request"),
    413: (CANNOT_UNDERSTAND, "HTTP 413: too large"),
    415: (SOP_CLASS_NOT_SUPPORTED, "HTTP 415: not this kind of object or encoding"),
}
# What is said of the service or of us: a person mends it, and then it goes on by itself.
_ENDS_IT = {
    401: "the credentials are not accepted",
    403: "we may not store there",
    404: "there is no STOW-RS at this address",
    405: "there is no STOW-RS at this address",
    407: "a proxy asks for credentials",
    429: "too many requests",
    501: "there is no STOW-RS at this address",
    503: "not available now",
}


def send(peer: WebPeer, paths: Sequence[Path], *, timeouts: Timeouts) -> SendOutcome:
    """Store Part 10 files, as they are, one after the other."""
    statuses: dict[str, int | None] = {}
    remarks: dict[str, str] = {}
    uids = {path: str(read_file_meta_info(path).MediaStorageSOPInstanceUID) for path in paths}
    for path, uid in uids.items():
        answer = ask(peer, "/studies", timeouts=timeouts, upload=_upload(path))
        if _is_about_us(answer):
            if not statuses:
                return SendOutcome(statuses={}, text=_words(answer))
            rest = [each for each in uids.values() if each not in statuses]
            statuses |= dict.fromkeys(rest)
            remarks |= dict.fromkeys(rest, _words(answer))
            break
        statuses[uid], remarks[uid] = _said(answer, uid)
    return outcome_of(statuses, remarks)


def listed(peer: WebPeer, refs: Sequence[ObjectRef], *, timeouts: Timeouts) -> frozenset[str]:
    """Return those of `refs` that the service, asked by QIDO-RS, says it has."""
    there: set[str] = set()
    for study, series in sorted({(ref.study_uid, ref.series_uid) for ref in refs}):
        path = f"/studies/{study}/series/{series}/instances?includefield=00080018"
        found = _found(ask(peer, path, timeouts=timeouts)) or ()
        there |= {str(each.get("SOPInstanceUID", "")) for each in found}
    return frozenset(there & {ref.instance_uid for ref in refs})


def study_answers(
    peer: WebPeer, study_uid: str, *, timeouts: Timeouts
) -> tuple[Dataset, ...] | None:
    """Return what the service says of a study, as `dicom_node.scu.study_answers` does."""
    path = f"/studies?StudyInstanceUID={study_uid}&includefield=00100021"
    found = _found(ask(peer, path, timeouts=timeouts))
    return (
        None if found is None else tuple(a for a in found if a.get("StudyInstanceUID") == study_uid)
    )


def probe(peer: WebPeer, *, timeouts: Timeouts) -> str | None:
    """Return what is wrong with the way to a service, ``None`` when it answers.

    It is asked for a study that nobody has, so that no patient is in the answer.
    """
    nobody = derived_uid("no such study")
    answer = ask(peer, f"/studies?StudyInstanceUID={nobody}&limit=1", timeouts=timeouts)
    mended_by_hand = answer.status in {401, 403, 407}
    if answer.problem or mended_by_hand or answer.status >= 500 or answer.status == 429:  # noqa: PLR2004
        return _words(answer)
    return None


def _upload(path: Path) -> Upload:
    boundary = uuid.uuid4().hex
    kind = "Content-Type: application/dicom"
    return Upload(
        head=f"--{boundary}\r\n{kind}\r\n\r\n".encode(),
        path=path,
        tail=f"\r\n--{boundary}--\r\n".encode(),
        media_type=f'multipart/related; type="application/dicom"; boundary={boundary}',
    )


def _is_about_us(answer: WebAnswer) -> bool:
    """Whether an answer says nothing of the instance, so that the next would get the same."""
    return answer.status not in {*_STORED, _CONFLICT, *_REFUSED}


def _words(answer: WebAnswer) -> str:
    if answer.problem:
        return answer.problem
    said = _ENDS_IT.get(answer.status, "")
    if later := answer.headers.get("retry-after", ""):
        said += f", try again after {later}"
    return f"HTTP {answer.status}" + (f": {said}" if said else "")


def _said(answer: WebAnswer, uid: str) -> tuple[int | None, str]:
    """Return the status of an instance and what else was said of it.

    What the body says counts for more than the HTTP status, which speaks of the whole request.
    """
    told = _told(answer.body)
    failed, stored = _item(told, _FAILED, uid), _item(told, _REFERENCED, uid)
    if failed is not None:
        return _number(failed, "FailureReason"), f"HTTP {answer.status}"
    if answer.status in _REFUSED:
        return _REFUSED[answer.status]
    if stored is not None:
        return _number(stored, "WarningReason") or SUCCESS, ""
    if answer.status == _STORED[0] and not told.get(_FAILED) and not told.get(_REFERENCED):
        return SUCCESS, ""
    return None, f"HTTP {answer.status}: it does not say what became of the instance"


def _told(body: bytes) -> Dataset:
    """Return the Store Instances Response Module (PS3.18 I); empty when it cannot be read."""
    read = _datasets(body)
    return read[0] if read else Dataset()


def _item(told: Dataset, sequence: str, uid: str) -> Dataset | None:
    items = (each for each in told.get(sequence) or ())
    return next((each for each in items if each.get("ReferencedSOPInstanceUID") == uid), None)


def _number(item: Dataset, keyword: str) -> int | None:
    value = item.get(keyword)
    return value if isinstance(value, int) else None


def _found(answer: WebAnswer) -> Sequence[Dataset] | None:
    """Return what a query found; ``None`` without a proper answer."""
    if answer.status in _NOT_HERE:
        return ()
    return _datasets(answer.body) if answer.status == _STORED[0] else None


def _datasets(body: bytes) -> Sequence[Dataset] | None:
    """Return the data sets of a DICOM JSON body (PS3.18 F); ``None`` when it is something else."""
    try:
        decoded: Any = json.loads(body)
        items: list[Mapping[str, Any]] = decoded if isinstance(decoded, list) else [decoded]
        return [Dataset.from_json(dict(item)) for item in items]
    except Exception:  # noqa: BLE001 - a stranger's words; pydicom has no one error for them
        return None
