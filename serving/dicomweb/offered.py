"""One instance that STOW-RS brings: whether it is taken, and what is said of it (PS3.18 10.5.3).

Lenient, a file is taken for what its data set is, whatever its file meta information and its part
say; strict, all three must agree.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydicom import Dataset

from dicom_node.archive import Encoded
from dicom_node.ingest import Ingest, Sender, Stored
from dicom_node.part10 import encoded_of
from dicom_node.records import Added
from dicom_node.status import Status, status_of
from imaging.attributes import text
from imaging.errors import (
    InputError,
    InstanceMismatch,
    MalformedInstance,
    SopClassMismatch,
    SopClassNotSupported,
    WetreadError,
)
from imaging.header import read_dataset
from imaging.scan import scan
from serving.dicomweb.accept import DICOM, media_type_of

_log = logging.getLogger(__name__)
SENDER = "STOW-RS"  # stands where the calling AE title of an association would
_OTHER_CLASS = 0xB007  # data set does not match SOP class: stored for what it is
_META = b"\2\0\0\0UL"  # File Meta Information Group Length
_PREFIX = 132
_LONGEST = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A Part 10 file and the headers of its part; `study_uid` where the request names one.

    `person` is who was signed in.
    """

    part10: bytes
    headers: Mapping[str, str]
    study_uid: str | None
    strict: bool
    address: str
    person: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one instance; `failure` and `warning` are the codes of PS3.18 I.2."""

    sop_class_uid: str
    instance_uid: str
    series_uid: str = ""
    study_uid: str = ""
    failure: int | None = None
    warning: int | None = None
    comment: str = ""
    repeated: bool = False

    @classmethod
    def refused(cls, offered: Offered, error: WetreadError) -> "Outcome":
        """Return that it was not taken, and why."""
        return cls.failed(offered, status_of(error), str(error))

    @classmethod
    def failed(cls, offered: Offered, status: Status, comment: str) -> "Outcome":
        """Return that it was not taken."""
        named = _named(offered)
        _log.warning("instance refused", extra={"instance": named.instance_uid, "why": status.name})
        return cls(
            sop_class_uid=named.sop_class_uid,
            instance_uid=named.instance_uid,
            failure=int(status),
            comment=comment,
        )

    def to_json(self, base: str) -> dict[str, object]:
        """Return the item of Failed or Referenced SOP Sequence."""
        item: dict[str, object] = {
            "00081150": _element("UI", self.sop_class_uid),
            "00081155": _element("UI", self.instance_uid),
        }
        if self.failure is None:
            path = f"studies/{self.study_uid}/series/{self.series_uid}"
            item["00081190"] = _element("UR", f"{base}/{path}/instances/{self.instance_uid}")
        else:
            item["00081197"] = _element("US", self.failure)
        if self.warning is not None:
            item["00081196"] = _element("US", self.warning)
        if self.comment:
            item["00000902"] = _element("LO", self.comment[:_LONGEST])
        return item


def store(ingest: Ingest, offered: Offered) -> Outcome:
    """Take an instance in; on stable storage when this returns.

    Raises
    ------
    WetreadError
        It is not taken, as `Ingest.store`; with `strict` also when its wrapping is wrong.
    """
    encoded = encoded_of(offered.part10 if offered.strict else _with_preamble(offered.part10))
    if offered.strict:
        _require_sound_wrapping(offered, encoded)
    told = _told(encoded)
    actual = encoded if told is None else _as_told(encoded, told)  # damage is noted by the ingest
    if told is not None and offered.study_uid not in {None, text(told, "StudyInstanceUID")}:
        msg = "the instance is of another study than the request"
        raise SopClassMismatch(msg)
    taken = encoded if offered.strict else actual
    sender = Sender(calling_ae=SENDER, address=offered.address, person=offered.person)
    stored = ingest.take(taken, sender)
    differs = encoded.sop_class_uid != actual.sop_class_uid
    return _taken(stored, warning=_OTHER_CLASS if differs else None)


def _taken(stored: Stored, *, warning: int | None) -> Outcome:
    record = stored.record
    return Outcome(
        sop_class_uid=record.sop_class_uid,
        instance_uid=record.instance_uid,
        series_uid=record.series_uid,
        study_uid=record.study_uid,
        warning=warning,
        repeated=stored.added is not Added.NEW,
    )


def _require_sound_wrapping(offered: Offered, encoded: Encoded) -> None:
    """Check part and file meta information (PS3.10 7.1, PS3.18 8.7.3)."""
    media_type, parameters = media_type_of(offered.headers.get("content-type", ""))
    if media_type != DICOM:
        msg = f"the part is {media_type or 'of no media type'}, not {DICOM}"
        raise SopClassNotSupported(msg)
    if parameters.get("transfer-syntax", encoded.transfer_syntax_uid) not in {
        encoded.transfer_syntax_uid,
        "*",
    }:
        msg = "the transfer syntax of the part is not that of the file"
        raise MalformedInstance(msg)
    if not offered.part10[_PREFIX:].startswith(_META):
        msg = "the file meta information has no group length"
        raise MalformedInstance(msg)
    if not (encoded.sop_class_uid and encoded.instance_uid):
        msg = "the file meta information does not name SOP class and instance"
        raise InstanceMismatch(msg)


def _named(offered: Offered) -> Encoded:
    """Return how the file names itself, as far as it can be told."""
    try:
        encoded = encoded_of(_with_preamble(offered.part10))
    except InputError:
        return Encoded(dataset=b"", sop_class_uid="", instance_uid="", transfer_syntax_uid="")
    told = _told(encoded)
    return encoded if told is None else _as_told(encoded, told)


def _with_preamble(data: bytes) -> bytes:
    """Add preamble and prefix to what begins with file meta information: clients leave them out."""
    return bytes(_PREFIX - 4) + b"DICM" + data if data.startswith(_META[:2]) else data


def _told(encoded: Encoded) -> Dataset | None:
    """Return the header, once a walk over its bytes has found it sound."""
    try:
        scan(encoded.dataset, encoded.transfer_syntax_uid)
        return read_dataset(encoded.part10() + encoded.dataset)
    except InputError:
        return None


def _as_told(encoded: Encoded, told: Dataset) -> Encoded:
    return replace(
        encoded,
        sop_class_uid=text(told, "SOPClassUID"),
        instance_uid=text(told, "SOPInstanceUID"),
    )


def _element(vr: str, value: str | int) -> dict[str, object]:
    return {"vr": vr, "Value": [value]} if value != "" else {"vr": vr}
