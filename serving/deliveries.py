"""The memory of deliveries: one row for each result on its way to one destination.

Every write may be repeated: rows are keyed by what they are about.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import case, delete, insert, select, update

from dicom_node import schema
from serving.records import Delivery, DeliveryState, Result
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
            row = {
                "delivery_id": item_id,
                "instance_uid": result.instance_uid,
                "workitem_uid": result.workitem_uid,
                "study_uid": result.study_uid,
                "destination": destination,
                "state": "waiting",
                "planned_at": self._clock(),
                "attempts": 0,
                "last_error": "",
                "proof": "",
            }
            db.execute(insert(table).values(tenant=self._tenant, **row))

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
        if state == "waiting":
            values["transaction_uid"] = None
        if state in {"delivered", "proven"}:
            values["delivered_at"] = now
        if state == "proven":
            values["proven_at"] = now
        with schema.writing(self._engine) as db:
            for uid in instance_uids:
                where = self._where(table, delivery_id=delivery_id(uid, destination))
                db.execute(update(table).where(*where).values(**values))
                item = self._first(db, Delivery, table, delivery_id=delivery_id(uid, destination))
                if item:
                    text = f"result for {destination}: {error or state}"
                    self._event(db, f"delivery {state}", workitem_uid=item.workitem_uid, text=text)

    def start_over(self, instance_uids: Sequence[str], destination: str) -> None:
        """Let deliveries that were refused or given up wait again, as if they were new."""
        table = schema.deliveries
        ids = [delivery_id(uid, destination) for uid in instance_uids]
        again = {"state": "waiting", "attempts": 0, "planned_at": self._clock()}
        with schema.writing(self._engine) as db:
            db.execute(
                update(table)
                .where(*self._where(table), table.c.delivery_id.in_(ids))
                .where(table.c.state.in_(("refused", "failed")))
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
        """Return the deliveries of these results to a destination."""
        table = schema.deliveries
        ids = [delivery_id(uid, destination) for uid in instance_uids]
        query = select(table).where(*self._where(table), table.c.delivery_id.in_(ids))
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
