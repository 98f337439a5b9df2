"""The memory of what others saved into studies, and of the corrections that follow from it."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Connection, Engine, select, update

from dicom_node import schema
from dicom_node.saved_tables import saved_objects
from imaging.annotations import is_report, is_segmentation
from imaging.reasons import reason
from serving.assessments import Assessments
from serving.records import (
    TIME,
    UID,
    CodeRecord,
    FindingRecord,
    MeasurementRecord,
    ReasonRecord,
    Record,
    reason_record,
)
from serving.rows import Clock, Rows


class Change(Record):
    """A measurement as our result has it, where it does, and as it was saved."""

    before: float | None = Field(None, examples=[6.14])
    after: MeasurementRecord

    @property
    def percent(self) -> float | None:
        """How much it changed."""
        return 100 * (self.after.value / self.before - 1) if self.before else None


class SavedMatch(Record):
    """What a saved object makes of one of our findings; `why` says why it corrects nothing."""

    tracking_uid: str = Field(description="of the finding; empty when there is none", examples=[""])
    label: str = Field("", examples=["Brain"])
    by: Literal["tracking UID", "label or code", ""] = ""
    dice: float | None = Field(None, examples=[0.93])
    changes: tuple[Change, ...] = ()
    instead: CodeRecord | None = None
    corrects: bool = False
    why: ReasonRecord | None = None


class SavedObject(Record):
    """A segmentation, report or the like that somebody else saved into a study."""

    instance_uid: str = UID
    study_uid: str = UID
    series_uid: str = UID
    sop_class_uid: str = Field(examples=["1.2.840.10008.5.1.4.1.1.66.4"])
    sender: str = Field(examples=["STOW-RS"])
    stored_by: str = Field("", description="who was signed in", examples=["rita"])
    received_at: float = TIME
    state: Literal["new", "read", "filed"]
    reader: str = Field("", examples=["Reader^Rita"])
    saved_at: str = Field("", examples=["20260102101500"])
    matches: tuple[SavedMatch, ...] = ()

    @property
    def kind(self) -> str:
        """What it is, in the words of the pages."""
        if is_segmentation(self.sop_class_uid):
            return "SEG"
        return "SR" if is_report(self.sop_class_uid) else "PR"


class SavedObjects(Rows):
    """Reads what was saved, and writes what came of it."""

    def __init__(
        self, engine: Engine, assessments: Assessments, *, tenant: str, clock: Clock
    ) -> None:
        super().__init__(engine, tenant=tenant, clock=clock)
        self._assessments = assessments

    def pending(self) -> tuple[SavedObject, ...]:
        """Return what was not looked at, or whose corrections were not filed, oldest first."""
        with self._engine.connect() as db:
            query = select(saved_objects).where(
                *self._where(saved_objects), saved_objects.c.state.in_(("new", "read"))
            )
            rows = db.execute(query.order_by(saved_objects.c.received_at))
            return tuple(SavedObject.model_validate(row) for row in rows)

    def of_study(self, study_uid: str) -> tuple[SavedObject, ...]:
        """Return what was saved into a study, newest first."""
        found = self._all(SavedObject, saved_objects, study_uid=study_uid)
        return tuple(sorted(found, key=lambda saved: -saved.received_at))

    def settle(
        self, saved: SavedObject, findings: Sequence[FindingRecord], *, workitem_uid: str
    ) -> None:
        """Store what an object amounts to, and its corrections, at once; only the first time.

        `saved` holds matches, reader and time as they were read.
        """
        with schema.writing(self._engine) as db:
            held = self._first(db, SavedObject, saved_objects, instance_uid=saved.instance_uid)
            if held is None or held.state != "new":
                return
            matches = tuple(self._unless_older(db, saved, match) for match in saved.matches)
            self._update(
                db,
                saved.instance_uid,
                state="read",
                reader=saved.reader,
                saved_at=saved.saved_at,
                matches=[match.model_dump(mode="json") for match in matches],
            )
            by_uid = {finding.tracking_uid: finding for finding in findings}
            rows = [
                _correction(saved, match, by_uid[match.tracking_uid])
                for match in matches
                if match.corrects
            ]
            if rows:
                self._assessments.add(
                    db, saved.study_uid, rows, reader=saved.reader, text="corrected"
                )
            elif workitem_uid:
                self._event(db, "saved", workitem_uid=workitem_uid, text=f"{saved.kind} saved")

    def corrections(self, saved: SavedObject) -> tuple[int, ...]:
        """Return the rows of the assessments that come from an object."""
        table = schema.assessments
        query = select(table.c.id).where(
            *self._where(table, study_uid=saved.study_uid, object_uid=saved.instance_uid)
        )
        with self._engine.connect() as db:
            return tuple(db.execute(query).scalars())

    def filed(self, saved: SavedObject) -> None:
        """Note that nothing is left to be done for an object."""
        with schema.writing(self._engine) as db:
            self._update(db, saved.instance_uid, state="filed")

    def _update(self, db: Connection, instance_uid: str, **values: Any) -> None:
        where = self._where(saved_objects, instance_uid=instance_uid)
        db.execute(update(saved_objects).where(*where).values(**values))

    def _unless_older(self, db: Connection, saved: SavedObject, match: SavedMatch) -> SavedMatch:
        """Let an object correct nothing that one saved later corrects already."""
        held, said = saved_objects, schema.assessments
        query = (
            select(held.c.saved_at)
            .join(
                said, (said.c.tenant == held.c.tenant) & (said.c.object_uid == held.c.instance_uid)
            )
            .where(*self._where(said, study_uid=saved.study_uid, tracking_uid=match.tracking_uid))
            .where(said.c.current)
        )
        later = db.execute(query).scalar()
        if not match.corrects or later is None or later <= saved.saved_at:
            return match
        why = reason_record(reason("SAVED_OLDER"))
        return match.model_copy(update={"corrects": False, "why": why})


def _correction(saved: SavedObject, match: SavedMatch, finding: FindingRecord) -> dict[str, Any]:
    return {
        "workitem_uid": finding.workitem_uid,
        "tracking_uid": finding.tracking_uid,
        "model": finding.model,
        "verdict": "corrected",
        "reason": "",
        "comment": "",
        "instead": match.instead.model_dump() if match.instead else None,
        "measured": [change.after.model_dump() for change in match.changes],
        "undoes": None,
        "object_uid": saved.instance_uid,
    }
