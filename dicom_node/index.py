"""The index of what is in the archive: adding instances and closing studies."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from dicom_node.group_commit import GroupCommit
from dicom_node.lookup import Lookup
from dicom_node.names import name_key, name_words
from dicom_node.records import Added, Completion, SetAside, StoredInstance, half_day
from dicom_node.saved_tables import saved_objects
from dicom_node.schema import (
    events,
    instances,
    removals,
    requests,
    series,
    set_aside,
    studies,
    writing,
)
from imaging.header import InstanceHeader
from imaging.priority import most_urgent
from imaging.whose import Whose

MOST_REFUSED = 10_000
_FILLED_LATER = ("patient_id", "patient_name", "birth_date", "sex", "accession_number", "study_id",
                 "study_date", "study_time", "description", "referring_physician", "name_key",
                 "name_words")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    record: StoredInstance
    header: InstanceHeader
    person: str


class Index(Lookup):
    """The index for one tenant; instances offered by several threads share one transaction.

    `holds` tells whether a file is in the archive: what is being removed must not be indexed.
    """

    def __init__(
        self,
        engine: sa.Engine,
        tenant: str = "default",
        *,
        holds: Callable[[str], bool] = lambda _path: True,
    ) -> None:
        super().__init__(engine, tenant)
        self._holds = holds
        self._adding = GroupCommit(self._add_all, key=lambda offer: offer.record.instance_uid)

    def add(self, record: StoredInstance, header: InstanceHeader, *, person: str = "") -> Added:
        """Take in an instance; durable when this returns. `person` is who stored it, if known.

        A new received image puts its study back to ``receiving``; a result does not, nor does
        what a reader saves into a study that is complete (`imaging.annotations`).
        """
        return self._adding.submit(_Offer(record=record, header=header, person=person))

    def add_set_aside(self, item: SetAside) -> bool:
        """Note what was not taken in, once for each file; False when its file was removed."""
        with writing(self.engine) as connection:
            if item.path is not None:
                self._hold(connection, {item.study_uid})
                if self._gone(connection, [item.path]):
                    return False
                if self._is_noted(connection, item.path):
                    return True
            row = {key: _clean(value) for key, value in asdict(item).items()}
            insert = sa.insert(set_aside).values(tenant=self.tenant, **row)
            number = connection.execute(insert).inserted_primary_key
            if number is not None and item.path is None:
                self._forget_refused(connection, before=int(number[0]) - MOST_REFUSED)
        return True

    def hasten(self, study_uid: str, priority: int) -> None:
        """Make a study as urgent as `priority`, if it is less."""
        if (known := self.study(study_uid).priority) is not None and known <= priority:
            return
        where = (studies.c.tenant == self.tenant, studies.c.study_uid == study_uid)
        urgent = _lower(studies.c.priority, priority)
        with writing(self.engine) as connection:
            connection.execute(sa.update(studies).where(*where).values(priority=urgent))

    def mark_complete(self, completion: Completion) -> bool:
        """Close a study unless instances came since it was judged; return whether it closed."""
        statement = (
            sa.update(studies)
            .where(
                studies.c.tenant == self.tenant,
                studies.c.study_uid == completion.study_uid,
                studies.c.received == completion.received,
            )
            .values(
                state="complete",
                completeness=completion.completeness,
                completeness_text=completion.text,
                content_digest=completion.content_digest,
                completed_at=completion.at,
            )
        )
        with writing(self.engine) as connection:
            return connection.execute(statement).rowcount == 1

    def correct(self, study_uid: str, to: Whose) -> None:
        """Note whose a study is by the PACS; instances of that patient fit it from then on."""
        row = {
            "patient_id": to.patient_id,
            "patient_name": to.name,
            "birth_date": to.birth_date,
            "sex": to.sex,
            "accession_number": to.accession_number,
        }
        if to.name:
            row |= {"name_key": name_key(to.name), "name_words": name_words(to.name)}
        known = {name: _clean(value) for name, value in row.items() if value}
        with writing(self.engine) as connection:
            connection.execute(
                sa.update(studies)
                .where(studies.c.tenant == self.tenant, studies.c.study_uid == study_uid)
                .values(**known)
            )

    def _forget_refused(self, connection: sa.Connection, *, before: int) -> None:
        """Keep the newest of what left no file: who sends nonsense for days shall fill no disk."""
        old = (set_aside.c.tenant == self.tenant, set_aside.c.path.is_(None))
        connection.execute(sa.delete(set_aside).where(*old, set_aside.c.id <= before))

    def _is_noted(self, connection: sa.Connection, path: str) -> bool:
        where = (set_aside.c.tenant == self.tenant, set_aside.c.path == path)
        return connection.execute(sa.select(set_aside.c.id).where(*where)).first() is not None

    def _add_all(self, offered: Sequence[_Offer]) -> Sequence[Added]:
        """Take in offers with different instance UIDs in one transaction."""
        with writing(self.engine) as connection:
            self._hold(connection, {o.record.study_uid for o in offered})
            gone = self._gone(connection, [o.record.path for o in offered])
            offers = [o for o in offered if o.record.path not in gone]
            present = self._present(connection, offers)
            fresh = [o for o in offers if o.record.instance_uid not in present]
            owners = self._ensure_studies(connection, fresh) if fresh else {}
            fitting = [o for o in fresh if _same_patient(owners[o.record.study_uid], o.header)]
            inserted = self._insert(connection, fitting) if fitting else frozenset()
            if len(inserted) < len(fitting):  # another process was faster
                present |= self._present(connection, fitting)
            self._touch(connection, [o for o in fitting if o.record.instance_uid in inserted])
        return [
            Added.GONE if o.record.path in gone else _outcome(o.record, inserted, present)
            for o in offered
        ]

    def _hold(self, connection: sa.Connection, study_uids: Collection[str]) -> None:
        """Keep studies from being removed meanwhile; wait for a removal that is on."""
        connection.execute(
            sa.select(studies.c.study_uid)
            .where(studies.c.tenant == self.tenant, studies.c.study_uid.in_(study_uids))
            .order_by(studies.c.study_uid)
            .with_for_update()
        )

    def _gone(self, connection: sa.Connection, paths: Sequence[str]) -> frozenset[str]:
        """Keep these files from being removed; return those that are removed already."""
        connection.execute(
            sa.delete(removals).where(removals.c.tenant == self.tenant, removals.c.path.in_(paths))
        )
        return frozenset(path for path in paths if not self._holds(path))

    def _present(self, connection: sa.Connection, offers: Sequence[_Offer]) -> dict[str, str]:
        query = sa.select(instances.c.instance_uid, instances.c.sha256).where(
            instances.c.tenant == self.tenant,
            instances.c.instance_uid.in_([o.record.instance_uid for o in offers]),
        )
        return _pairs(connection, query)

    def _ensure_studies(
        self, connection: sa.Connection, offers: Sequence[_Offer]
    ) -> Mapping[str, str]:
        """Return the patient ID of each study, after making or completing its row."""
        uids = {o.record.study_uid for o in offers}
        query = sa.select(studies.c.study_uid, studies.c.patient_id).where(
            studies.c.tenant == self.tenant, studies.c.study_uid.in_(uids)
        )
        known = _pairs(connection, query)
        missing = [o for o in offers if not known.get(o.record.study_uid)]
        if not missing:
            return known
        insert = self._insert_into(studies)
        values = {name: _or_new(insert, name) for name in _FILLED_LATER}
        upsert = insert.on_conflict_do_update(index_elements=["tenant", "study_uid"], set_=values)
        rows = sorted((self._study(o) for o in missing), key=lambda row: str(row["study_uid"]))
        connection.execute(upsert, rows)
        self._announce(connection, {o.record.study_uid: o for o in missing}, known)
        return _pairs(connection, query)

    def _announce(
        self, connection: sa.Connection, offers: Mapping[str, _Offer], known: Mapping[str, str]
    ) -> None:
        """Say that the first instance of a study is here."""
        for study_uid in sorted(offers.keys() - known.keys()):
            row = {
                "at": offers[study_uid].record.received_at,
                "kind": "arriving",
                "study_uid": study_uid,
                "workitem_uid": "",
                "text": "first image received",
            }
            connection.execute(sa.insert(events).values(tenant=self.tenant, **row))

    def _insert(self, connection: sa.Connection, offers: Sequence[_Offer]) -> frozenset[str]:
        """Insert instances and their series; return the UIDs that were not there yet."""
        # Rows go in by key, so that two processes cannot wait for each other.
        ordered = sorted(offers, key=lambda o: (o.record.series_uid, o.record.instance_uid))
        by_series = {(o.record.study_uid, o.record.series_uid): o for o in reversed(ordered)}
        rows = [self._series(by_series[key]) for key in sorted(by_series)]
        connection.execute(self._insert_into(series).on_conflict_do_nothing(), rows)
        ordered_by = [row for key in sorted(by_series) for row in self._requests(by_series[key])]
        if ordered_by:
            connection.execute(self._insert_into(requests).on_conflict_do_nothing(), ordered_by)
        statement = self._insert_into(instances).on_conflict_do_nothing()
        new = connection.execute(
            statement.returning(instances.c.instance_uid),
            [{"tenant": self.tenant, **asdict(o.record), **_size(o.header)} for o in ordered],
        )
        added = frozenset(new.scalars())
        self._note_saved(connection, [o for o in ordered if o.record.instance_uid in added])
        return added

    def _note_saved(self, connection: sa.Connection, offers: Sequence[_Offer]) -> None:
        """Note what somebody said of images, so that a worker looks at it."""
        rows = [
            {
                "tenant": self.tenant,
                "instance_uid": offer.record.instance_uid,
                "study_uid": offer.record.study_uid,
                "series_uid": offer.record.series_uid,
                "sop_class_uid": offer.record.sop_class_uid,
                "sender": offer.record.calling_ae,
                "stored_by": offer.person,
                "received_at": offer.record.received_at,
                "state": "new",
                "matches": [],
            }
            for offer in offers
            if offer.record.origin == "received" and not offer.record.is_content
        ]
        if rows:
            connection.execute(self._insert_into(saved_objects).on_conflict_do_nothing(), rows)

    def _touch(self, connection: sa.Connection, offers: Sequence[_Offer]) -> None:
        received = [o for o in offers if o.record.origin == "received"]
        for study_uid in sorted({o.record.study_uid for o in received}):
            new = [o for o in received if o.record.study_uid == study_uid]
            named = most_urgent(o.header.study.priority for o in new)
            content = any(o.record.is_content for o in new)
            connection.execute(
                sa.update(studies)
                .where(studies.c.tenant == self.tenant, studies.c.study_uid == study_uid)
                .values(
                    state="receiving" if content else studies.c.state,
                    last_received_at=max(o.record.received_at for o in new),
                    received=studies.c.received + len(new),
                    priority=_lower(studies.c.priority, named),
                )
            )

    def _insert_into(self, table: sa.Table) -> "sqlite.Insert | postgresql.Insert":
        on_sqlite = self.engine.dialect.name == "sqlite"
        return sqlite.insert(table) if on_sqlite else postgresql.insert(table)

    def _study(self, offer: _Offer) -> dict[str, object]:
        patient, study, record = offer.header.patient, offer.header.study, offer.record
        row: dict[str, object] = {
            "tenant": self.tenant,
            "study_uid": record.study_uid,
            "patient_id": patient.patient_id,
            "patient_name": patient.name,
            "birth_date": patient.birth_date,
            "sex": patient.sex,
            "accession_number": study.accession_number,
            "study_id": study.study_id,
            "study_date": study.date,
            "study_time": study.time,
            "description": study.description,
            "sender": record.calling_ae,
            "sender_address": record.address,
            "first_received_at": record.received_at,
            "last_received_at": record.received_at,
            "received": 0,
            "state": "receiving",
            "completeness_text": "",
            "referring_physician": study.referring_physician,
            "name_key": name_key(patient.name),
            "name_words": name_words(patient.name),
            "head_start_h": 0.0,
            "due_at": record.received_at,
            "half_day": half_day(record.received_at),
        }
        return {key: _clean(value) for key, value in row.items()}

    def _series(self, offer: _Offer) -> dict[str, object]:
        header = offer.header.series
        row: dict[str, object] = {
            "tenant": self.tenant,
            "study_uid": offer.record.study_uid,
            "series_uid": offer.record.series_uid,
            "modality": header.modality,
            "number": header.number,
            "description": header.description,
            "body_part": header.body_part,
            "series_date": header.date,
            "series_time": header.time,
            "step_date": header.step_date,
            "step_time": header.step_time,
        }
        return {key: _clean(value) for key, value in row.items()}

    def _requests(self, offer: _Offer) -> list[dict[str, object]]:
        return [
            {
                "tenant": self.tenant,
                "study_uid": offer.record.study_uid,
                "series_uid": offer.record.series_uid,
                "position": position,
                "step_id": _clean(request.step_id),
                "procedure_id": _clean(request.procedure_id),
            }
            for position, request in enumerate(offer.header.series.requests)
        ]


def _size(header: InstanceHeader) -> dict[str, int | None]:
    image = header.image
    pixels = image.rows is not None
    return {
        "rows": image.rows,
        "columns": image.columns,
        "bits_allocated": image.bits_allocated,
        "frames": image.frames if pixels else None,
    }


def _pairs(connection: sa.Connection, query: sa.Select[Any]) -> dict[str, str]:
    return {row[0]: row[1] for row in connection.execute(query)}


def _lower(column: sa.Column[Any], value: int | None) -> sa.ColumnElement[Any]:
    """Give the lower of what a row has and a new value; either may be missing."""
    return column if value is None else sa.case((column < value, column), else_=value)


def _or_new(insert: "sqlite.Insert | postgresql.Insert", name: str) -> sa.ColumnElement[Any]:
    """Keep what the row has; fill it from the new values where it is empty."""
    return sa.func.coalesce(sa.func.nullif(studies.c[name], ""), insert.excluded[name])


def _outcome(record: StoredInstance, inserted: frozenset[str], present: Mapping[str, str]) -> Added:
    if record.instance_uid in inserted:
        return Added.NEW
    if record.instance_uid not in present:
        return Added.OTHER_PATIENT
    return Added.DUPLICATE if present[record.instance_uid] == record.sha256 else Added.CONFLICT


def _same_patient(owner: str, header: InstanceHeader) -> bool:
    # An empty patient ID fits any: objects made of a study often leave it out.
    patient_id = str(_clean(header.patient.patient_id))
    return not owner or not patient_id or owner == patient_id


def _clean(value: object) -> object:
    """Leave out what a database cannot hold as text: NUL and lone surrogates."""
    if not isinstance(value, str):
        return value
    return value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
