"""The memory of deliveries: one row for each result on its way to one destination.

Every write may be repeated: rows are keyed by what they are about.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, case, delete, insert, or_, select, update

from dicom_node import schema
from serving.records import APART, Delivery, DeliveryState, Result
from serving.rows import Rows


def delivery_id(instance_uid: str, destination: str) -> str:
    """Return the id of the item that brings one result to one destination."""
    return f"{instance_uid}/{destination}"


class Deliveries(Rows):
    """Reads and writes deliveries."""

    def plan_delivery(self, result: Result, destination: str) -> None:
        """Note that `result` must reach `destination`.

        A step that is repeated changes nothing; another analysis starts anew what is not proven.
        """
        table, item_id = schema.deliveries, delivery_id(result.instance_uid, destination)
        with schema.writing(self._engine) as db:
            known = self._first(db, Delivery, table, delivery_id=item_id)
            if known and (known.state == "proven" or known.workitem_uid == result.workitem_uid):
                return
            db.execute(delete(table).where(*self._where(table, delivery_id=item_id)))
            self._plan(db, result, destination, planned_at=self._clock(), root_uid=None)

    def replace_delivery(self, former: Delivery, result: Result, *, why: str) -> Delivery:
        """Let `result`, made from that of a delivery, be delivered in its place."""
        table, destination = schema.deliveries, former.destination
        key = {"delivery_id": delivery_id(result.instance_uid, destination)}
        root = former.root_uid or former.instance_uid
        with schema.writing(self._engine) as db:
            known = self._first(db, Delivery, table, **key)
            if known is not None and known.state == "superseded":
                again = {"state": "waiting", "last_error": ""}
                db.execute(update(table).where(*self._where(table, **key)).values(**again))
            if known is None:
                planned_at = former.planned_at
                self._plan(db, result, destination, planned_at=planned_at, root_uid=root)
                values = {"identity": why}
                db.execute(update(table).where(*self._where(table, **key)).values(**values))
            said = f"replaced by {result.instance_uid}: {why}"
            self._supersede(db, former, result.instance_uid, why=said)
            made = self._first(db, Delivery, table, **key)
        assert made is not None
        return made

    def plan_withdrawal(self, note: Result, rejected: Sequence[Delivery], *, root_uid: str) -> None:
        """Note that a rejection note must reach the destination of what it rejects."""
        table, destination = schema.deliveries, rejected[0].destination
        key = {"delivery_id": delivery_id(note.instance_uid, destination)}
        with schema.writing(self._engine) as db:
            if self._first(db, Delivery, table, **key) is None:
                now = self._clock()
                self._plan(db, note, destination, planned_at=now, root_uid=root_uid)
            ids = [item.delivery_id for item in rejected]
            where = [*self._where(table), table.c.delivery_id.in_(ids)]
            db.execute(update(table).where(*where).values(withdrawn_by=note.instance_uid))

    def plan_beside(self, results: Sequence[Result], destination: str, *, root_uid: str) -> bool:
        """Let results be delivered along with others; whether any is new to that destination."""
        new = False
        with schema.writing(self._engine) as db:
            for result in results:
                key = {"delivery_id": delivery_id(result.instance_uid, destination)}
                if result.state == "valid" and not self._first(
                    db, Delivery, schema.deliveries, **key
                ):
                    now, new = self._clock(), True
                    self._plan(db, result, destination, planned_at=now, root_uid=root_uid)
        return new

    def note_instead(self, refused: Delivery, why: str) -> None:
        """Note what is sent in the place of a refused result."""
        table = schema.deliveries
        with schema.writing(self._engine) as db:
            where = self._where(table, delivery_id=refused.delivery_id)
            said = f"{refused.last_error}; {why}"
            db.execute(update(table).where(*where).values(last_error=said))

    def cancel_delivery(self, item: Delivery, heir_uid: str) -> None:
        """End a delivery whose result a later one has replaced."""
        with schema.writing(self._engine) as db:
            self._supersede(db, item, heir_uid, why=f"replaced by {heir_uid} before delivery")

    def _plan(
        self,
        db: Connection,
        result: Result,
        destination: str,
        *,
        planned_at: float,
        root_uid: str | None,
    ) -> None:
        row = {
            "delivery_id": delivery_id(result.instance_uid, destination),
            "instance_uid": result.instance_uid,
            "workitem_uid": result.workitem_uid,
            "study_uid": result.study_uid,
            "destination": destination,
            "state": "waiting",
            "planned_at": planned_at,
            "attempts": 0,
            "last_error": "",
            "proof": "",
            "root_uid": root_uid,
        }
        db.execute(insert(schema.deliveries).values(tenant=self._tenant, **row))

    def _end_deliveries(self, db: Connection, study_uid: str, heirs: Sequence[str]) -> None:
        """End the deliveries of what these results have just replaced."""
        deliveries, results = schema.deliveries, schema.results
        for item in self._rows(db, Delivery, deliveries, study_uid=study_uid):
            where = self._where(results, instance_uid=item.instance_uid)
            where.append(results.c.kind.not_in(APART))
            heir = db.execute(select(results.c.superseded_by).where(*where)).scalar()
            if heir is not None and heir in heirs and item.state in {"waiting", "held"}:
                self._supersede(db, item, heir, why=f"replaced by {heir} before delivery")

    def _supersede(self, db: Connection, item: Delivery, heir_uid: str, *, why: str) -> None:
        """End a delivery, because another result takes the place of its own."""
        deliveries, results = schema.deliveries, schema.results
        ended = {"state": "superseded", "last_error": why, "next_attempt_at": None}
        where = self._where(deliveries, delivery_id=item.delivery_id)
        db.execute(update(deliveries).where(*where).values(**ended))
        where = self._where(results, instance_uid=item.instance_uid)
        db.execute(update(results).where(*where).values(superseded_by=heir_uid))
        self._event(db, "delivery superseded", workitem_uid=item.workitem_uid, text=why)

    def note_identity(self, instance_uids: Sequence[str], destination: str, why: str) -> None:
        """Note how patient and order of results were checked."""
        table = schema.deliveries
        ids = [delivery_id(uid, destination) for uid in instance_uids]
        with schema.writing(self._engine) as db:
            where = [*self._where(table), table.c.delivery_id.in_(ids)]
            db.execute(update(table).where(*where).values(identity=why))

    def update_deliveries(
        self,
        instance_uids: Sequence[str],
        destination: str,
        state: DeliveryState,
        *,
        error: str = "",
        retry_in_s: float | None = None,
        proof: str = "",
    ) -> None:
        """Note the outcome of an attempt to bring results to a destination."""
        now, table = self._clock(), schema.deliveries
        values: dict[str, Any] = {
            "state": state,
            "last_error": error,
            "next_attempt_at": None if retry_in_s is None else now + retry_in_s,
            # Waiting for the proof of what was sent is no further attempt.
            "attempts": table.c.attempts + case((table.c.state == "delivered", 0), else_=1),
            "proof": proof,
        }
        if state in {"waiting", "held"}:
            values["transaction_uid"] = None
        if state in {"delivered", "proven"}:
            values["delivered_at"] = now
        if state == "proven":
            values["proven_at"] = now
        with schema.writing(self._engine) as db:
            for uid in instance_uids:
                where = self._where(table, delivery_id=delivery_id(uid, destination))
                if state in {"waiting", "held"}:  # what was replaced meanwhile stays so
                    where.append(table.c.state != "superseded")
                db.execute(update(table).where(*where).values(**values))
                item = self._first(db, Delivery, table, delivery_id=delivery_id(uid, destination))
                if item:
                    text = f"result for {destination}: {error or state}"
                    self._event(db, f"delivery {state}", workitem_uid=item.workitem_uid, text=text)

    def start_over(self, instance_uids: Sequence[str], destination: str) -> None:
        """Let deliveries that were refused, held or given up wait again, as if they were new.

        What was held is released: a person has decided that it is to go as it is.
        """
        table, now = schema.deliveries, self._clock()
        ids = [delivery_id(uid, destination) for uid in instance_uids]
        again = {
            "state": "waiting",
            "attempts": 0,
            "planned_at": now,
            "released_at": case((table.c.state == "held", now), else_=table.c.released_at),
        }
        with schema.writing(self._engine) as db:
            db.execute(
                update(table)
                .where(*self._where(table), table.c.delivery_id.in_(ids))
                .where(table.c.state.in_(("refused", "failed", "held")))
                .values(**again)
            )

    def note_transaction(
        self, instance_uids: Sequence[str], destination: str, transaction_uid: str
    ) -> None:
        """Note under which transaction a destination was asked to commit to results."""
        table = schema.deliveries
        ids = [delivery_id(uid, destination) for uid in instance_uids]
        with schema.writing(self._engine) as db:
            where = [*self._where(table), table.c.delivery_id.in_(ids)]
            db.execute(update(table).where(*where).values(transaction_uid=transaction_uid))

    def deliveries_of(self, instance_uids: Sequence[str], destination: str) -> tuple[Delivery, ...]:
        """Return the deliveries of these results, and of what was made from them."""
        table = schema.deliveries
        mine = self._where(table, destination=destination)
        named = [column.in_(instance_uids) for column in (table.c.instance_uid, table.c.root_uid)]
        query = select(table).where(*mine, or_(*named))
        with self._engine.connect() as db:
            return tuple(Delivery.model_validate(row) for row in db.execute(query))

    def deliveries(
        self,
        *,
        study_uid: str | None = None,
        workitem_uid: str | None = None,
        state: str | None = None,
    ) -> tuple[Delivery, ...]:
        """Return delivery items."""
        return self._all(
            Delivery, schema.deliveries, study_uid=study_uid, workitem_uid=workitem_uid, state=state
        )
