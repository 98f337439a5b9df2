"""Taking one instance in, whoever brought it: check, archive, index; then it is safe to say so."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from dicom_node.archive import Address, Archive, Encoded, Kept, Space
from dicom_node.checks import checked_header
from dicom_node.index import Index
from dicom_node.records import Added, Origin, SetAside, StoredInstance
from dicom_node.same_content import same_content
from imaging.errors import (
    Conflict,
    InputError,
    NotFound,
    OtherPatient,
    SetupError,
    StorageFull,
    WetreadError,
)
from imaging.header import InstanceHeader
from imaging.scan import STANDARD, Bounds

_LONGEST_UID = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An instance that is safe with us; `added` says whether it was new."""

    record: StoredInstance
    header: InstanceHeader
    added: Added

    @property
    def wakes_study(self) -> bool:
        """Whether the study has received something it did not have."""
        return self.added is Added.NEW and self.record.origin == "received"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who brings an instance, from where; `person` is who was signed in, if somebody was."""

    calling_ae: str
    address: str
    person: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrived:
    encoded: Encoded
    sender: Sender
    origin: Origin


class Ingest:
    """Stores instances in one archive and one index; `clock` gives Unix seconds."""

    def __init__(
        self,
        archive: Archive,
        index: Index,
        clock: Callable[[], float],
        *,
        bounds: Bounds = STANDARD,
    ) -> None:
        self._archive, self._index, self._clock = archive, index, clock
        self._bounds = bounds

    def store(
        self,
        dataset_bytes: bytes,
        *,
        sop_class_uid: str,
        instance_uid: str,
        transfer_syntax_uid: str,
        calling_ae: str,
        address: str,
    ) -> Stored:
        """Take in an encoded data set as `take` does."""
        encoded = Encoded(
            dataset=dataset_bytes,
            sop_class_uid=sop_class_uid,
            instance_uid=instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
        )
        return self.take(encoded, Sender(calling_ae=calling_ae, address=address))

    def take(self, encoded: Encoded, sender: Sender) -> Stored:
        """Take in an instance; on stable storage when this returns.

        What is here already with the same content changes nothing. What is refused leaves a row
        in `set_aside`.

        Raises
        ------
        InputError
            The data set is damaged, contradicts the command (`SopClassMismatch`,
            `InstanceMismatch`) or is of another patient than its study (`OtherPatient`).
        Conflict
            Other content is here under this UID; the new file is kept aside.
        SetupError
            No space (`StorageFull`), or archive or database cannot be written.
        """
        arrived = _Arrived(encoded=encoded, sender=sender, origin="received")
        try:
            return self._store(arrived)
        except InputError as error:
            if not isinstance(error, OtherPatient):  # that one is kept with its file
                self._set_aside(arrived, error, None)
            raise

    def hasten(self, study_uid: str, priority: int) -> None:
        """Note that the sender of a study names a priority beside its images."""
        try:
            self._index.hasten(study_uid, priority)
        except SQLAlchemyError as error:
            msg = "the index cannot be written"
            raise SetupError(msg) from error

    def require_space(self) -> None:
        """Raise `StorageFull` when there is not enough room to let somebody new in."""
        if self._archive.space() is not Space.ENOUGH:
            raise StorageFull

    def store_result(self, encoded: Encoded, *, made_by: str) -> Stored:
        """Take in one of our own results; it does not wake its study."""
        maker = Sender(calling_ae=made_by, address="")
        arrived = _Arrived(encoded=encoded, sender=maker, origin="result")
        return self._store(arrived)

    def _store(self, arrived: _Arrived) -> Stored:
        header = checked_header(arrived.encoded, self._bounds)
        self._archive.require_space(len(arrived.encoded.dataset))
        record, added = self._put(arrived, header)
        while added is Added.GONE:
            record, added = self._put(arrived, header)
        if added is Added.CONFLICT:
            return self._settle(arrived, record, header)
        if added is Added.OTHER_PATIENT:
            error = OtherPatient()
            self._set_aside(arrived, error, record)
            raise error
        return Stored(record=record, header=header, added=added)

    def _put(self, arrived: _Arrived, header: InstanceHeader) -> tuple[StoredInstance, Added]:
        uids = header.study.study_uid, header.series.series_uid, header.instance_uid
        kept = self._archive.put(self._address(*uids), arrived.encoded)
        record = self._record(arrived, header, kept)
        return record, self._add(record, header, arrived.sender.person)

    def _add(self, record: StoredInstance, header: InstanceHeader, person: str) -> Added:
        try:
            return self._index.add(record, header, person=person)
        except SQLAlchemyError as error:
            msg = "the index cannot be written"
            raise SetupError(msg) from error

    def _settle(self, arrived: _Arrived, record: StoredInstance, header: InstanceHeader) -> Stored:
        """Tell another encoding of the same content from other content."""
        held = self._index.instance(record.instance_uid)
        same = held and self._same(held, record)
        if held is None or same is None:
            return self._store(arrived)
        if same:
            self._archive.remove(record.path)
            return Stored(record=held, header=header, added=Added.DUPLICATE)
        error = Conflict("other content is here under the same SOP Instance UID")
        self._set_aside(arrived, error, record)
        raise error

    def _same(self, held: StoredInstance, record: StoredInstance) -> bool | None:
        """Compare what is here with what came; ``None`` when it was removed with its study."""
        try:
            return same_content(self._archive.read(held.path), self._archive.read(record.path))
        except NotFound:
            if self._index.instance(held.instance_uid) is not None:
                raise
            return None

    def _set_aside(
        self, arrived: _Arrived, error: WetreadError, record: StoredInstance | None
    ) -> None:
        item = SetAside(
            received_at=self._clock(),
            instance_uid=arrived.encoded.instance_uid[:_LONGEST_UID],
            study_uid=record.study_uid if record else "",
            code=error.code,
            text=str(error),
            path=record.path if record else None,
            calling_ae=arrived.sender.calling_ae,
            address=arrived.sender.address,
        )
        try:
            while not self._index.add_set_aside(item) and record is not None:
                uids = record.study_uid, record.series_uid, record.instance_uid
                self._archive.put(self._address(*uids), arrived.encoded)
        except SQLAlchemyError as failure:
            msg = "the index cannot be written"
            raise SetupError(msg) from failure

    def _address(self, study_uid: str, series_uid: str, instance_uid: str) -> Address:
        return Address(
            tenant=self._index.tenant,
            study_uid=study_uid,
            series_uid=series_uid,
            instance_uid=instance_uid,
        )

    def _record(self, arrived: _Arrived, header: InstanceHeader, kept: Kept) -> StoredInstance:
        return StoredInstance(
            study_uid=header.study.study_uid,
            series_uid=header.series.series_uid,
            instance_uid=header.instance_uid,
            sop_class_uid=header.sop_class_uid,
            transfer_syntax_uid=header.transfer_syntax_uid,
            path=kept.path,
            size=kept.size,
            sha256=kept.sha256,
            origin=arrived.origin,
            received_at=self._clock(),
            calling_ae=arrived.sender.calling_ae,
            address=arrived.sender.address,
            instance_number=header.instance_number,
        )
