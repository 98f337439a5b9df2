"""The memory of assessments: what readers think of findings. Rows are only added.

An assessment belongs to a finding's tracking UID, so it still holds when the same content is
analysed again by the same model.
"""

import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import BaseModel, Field, field_validator, model_validator
from sqlalchemy import Connection, func, insert, select, update

from dicom_node import schema
from imaging.errors import Conflict, NotFound
from imaging.verdict import RejectReason, Verdict
from serving.precedence import settle
from serving.records import (
    TIME,
    UID,
    WORKITEM,
    CodeRecord,
    FindingRecord,
    MeasurementRecord,
    Record,
)
from serving.rows import Rows

_COMMENT_LIMIT = 2000
_SAID = {
    "workitem_uid",
    "tracking_uid",
    "model",
    "verdict",
    "reason",
    "comment",
    "instead",
    "measured",
    "object_uid",
}


class AssessmentRecord(Record):
    """One reader's verdict on one finding; `current` is the newest of the finding."""

    id: int = Field(examples=[17])
    action: str = Field(examples=["0d9c"], description="what was done at once shares it")
    study_uid: str = UID
    workitem_uid: str = WORKITEM
    tracking_uid: str = UID
    model: str = Field(examples=["brain-extraction"])
    verdict: Verdict
    reason: str = Field("", examples=["NOT_PRESENT"])
    comment: str = ""
    instead: CodeRecord | None = None
    measured: tuple[MeasurementRecord, ...] = ()
    reader: str = Field(examples=["local"])
    at: float = TIME
    undoes: str | None = Field(None, examples=["0d9c"])
    object_uid: str | None = Field(
        None, description="the saved object that a correction comes from", examples=["1.2.3.4"]
    )
    current: bool


class Measured(BaseModel):
    """A measurement as the reader has it, in the unit of the finding's measurement."""

    name: str = Field(examples=["Volume"])
    value: float = Field(ge=0, examples=[1650.0])

    @field_validator("value")
    @classmethod
    def _is_a_number(cls, value: float) -> float:
        if not math.isfinite(value):
            msg = "a measurement is a finite number"
            raise ValueError(msg)
        return value


class AssessmentRequest(BaseModel):
    """What a reader thinks of findings; without `tracking_uids` of all findings of the study."""

    verdict: Verdict = Field(description="accepted, rejected or corrected; withdrawn comes by undo")
    tracking_uids: tuple[str, ...] = ()
    reason: RejectReason | None = None
    comment: str = Field("", max_length=_COMMENT_LIMIT)
    instead: str = Field("", description="for corrected: the class it is, by the name of a class")
    measured: tuple[Measured, ...] = ()

    @field_validator("reason", mode="before")
    @classmethod
    def _by_code(cls, value: object) -> object:
        return RejectReason.__members__.get(value, value) if isinstance(value, str) else value

    @field_validator("comment")
    @classmethod
    def _printable(cls, value: str) -> str:
        return "".join(c for c in value if c.isprintable() or c == "\n").strip()

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        corrects = bool(self.instead or self.measured)
        if self.verdict is Verdict.WITHDRAWN:
            msg = "a verdict is taken back by undo"
            raise ValueError(msg)
        if (self.verdict is Verdict.REJECTED) != (self.reason is not None):
            msg = "a rejection, and nothing else, needs a reason"
            raise ValueError(msg)
        if self.reason is RejectReason.OTHER and not self.comment:
            msg = "another reason needs a comment"
            raise ValueError(msg)
        if (self.verdict is Verdict.CORRECTED) != corrects:
            msg = "a correction, and nothing else, needs a class or measurements"
            raise ValueError(msg)
        if self.verdict is Verdict.CORRECTED and len(self.tracking_uids) != 1:
            msg = "a correction is about one finding"
            raise ValueError(msg)
        return self


class Assessments(Rows):
    """Reads and writes assessments."""

    def assess(
        self,
        findings: Sequence[FindingRecord],
        wanted: AssessmentRequest,
        *,
        study_uid: str,
        reader: str,
    ) -> tuple[AssessmentRecord, ...]:
        """Store a verdict on findings; durable when this returns.

        Raises
        ------
        Conflict
            One of them is not among the study's current findings, or is corrected in what it
            does not have.
        """
        chosen = _chosen(findings, wanted.tracking_uids)
        rows = [
            {
                "workitem_uid": finding.workitem_uid,
                "tracking_uid": finding.tracking_uid,
                "model": finding.model,
                "verdict": wanted.verdict.value,
                "reason": wanted.reason.name if wanted.reason else "",
                "comment": wanted.comment,
                "instead": _instead(finding, wanted.instead),
                "measured": _measured(finding, wanted.measured),
                "undoes": None,
                "object_uid": None,
            }
            for finding in chosen
        ]
        with schema.writing(self._engine) as db:
            return self.add(db, study_uid, rows, reader=reader, text=wanted.verdict.value)

    def undo(self, study_uid: str, action: str, *, reader: str) -> tuple[AssessmentRecord, ...]:
        """Give the findings of an action the verdict back that they had before it.

        Raises
        ------
        NotFound
            There is no such action in the study.
        Conflict
            Each of its findings was assessed again since.
        """
        with schema.writing(self._engine) as db:
            history = self._history(db, study_uid)
            done = [record for record in history if record.action == action]
            if not done:
                msg = f"study {study_uid} has no assessment {action}"
                raise NotFound(msg)
            rows = [_restored(record, history) for record in done if record.current]
            if not rows:
                msg = "the findings were assessed again since"
                raise Conflict(msg)
            return self.add(db, study_uid, rows, reader=reader, text="undone")

    def history(self, study_uid: str) -> tuple[AssessmentRecord, ...]:
        """Return every assessment of a study, newest first."""
        with self._engine.connect() as db:
            return self._history(db, study_uid)

    def current(self, study_uid: str) -> Mapping[str, AssessmentRecord]:
        """Return the newest assessment of each finding by tracking UID, withdrawn ones too."""
        return {r.tracking_uid: r for r in self.history(study_uid) if r.current}

    def holding(self, study_uid: str) -> Mapping[str, AssessmentRecord]:
        """Return the verdicts that hold by tracking UID: withdrawn ones do not."""
        current = self.current(study_uid)
        return {u: r for u, r in current.items() if r.verdict is not Verdict.WITHDRAWN}

    def counts_since(self, start: float) -> Mapping[str, int]:
        """Return how many verdicts given at or after `start` hold, by verdict."""
        table = schema.assessments
        query = (
            select(table.c.verdict, func.count())
            .where(*self._where(table), table.c.current, table.c.at >= start)
            .group_by(table.c.verdict)
        )
        with self._engine.connect() as db:
            return {verdict: count for verdict, count in db.execute(query)}  # noqa: C416 - typed

    def _history(self, db: Connection, study_uid: str) -> tuple[AssessmentRecord, ...]:
        table = schema.assessments
        query = select(table).where(*self._where(table, study_uid=study_uid))
        rows = db.execute(query.order_by(table.c.id.desc()))
        return tuple(AssessmentRecord.model_validate(row) for row in rows)

    def add(
        self,
        db: Connection,
        study_uid: str,
        rows: Sequence[dict[str, Any]],
        *,
        reader: str,
        text: str,
    ) -> tuple[AssessmentRecord, ...]:
        """Add rows to the history of their findings, within a transaction."""
        table, action = schema.assessments, uuid.uuid4().hex
        shared = {"study_uid": study_uid, "action": action, "reader": reader}
        uids = [row["tracking_uid"] for row in rows]
        where = [*self._where(table, study_uid=study_uid), table.c.tracking_uid.in_(uids)]
        db.execute(update(table).where(*where, table.c.current).values(current=False))
        for row in rows:
            values = row | shared | {"at": self._clock(), "current": True}
            db.execute(insert(table).values(tenant=self._tenant, **values))
        settle(db, self._tenant, [study_uid])
        self._event(db, "assessed", workitem_uid=rows[0]["workitem_uid"], text=f"findings {text}")
        return tuple(r for r in self._history(db, study_uid) if r.action == action)


def _chosen(
    findings: Sequence[FindingRecord], tracking_uids: Sequence[str]
) -> Sequence[FindingRecord]:
    there = {finding.tracking_uid: finding for finding in findings}
    unknown = set(tracking_uids) - there.keys()
    if unknown or not there:
        msg = "the study has no such finding now" if unknown else "the study has no findings"
        raise Conflict(msg)
    return [there[uid] for uid in dict.fromkeys(tracking_uids)] or findings


def _instead(finding: FindingRecord, name: str) -> dict[str, str] | None:
    if not name:
        return None
    found = next((c for c in finding.probabilities if c.name == name), None)
    if found is None or found.code is None:
        msg = f"the finding has no class {name!r}"
        raise Conflict(msg)
    return found.code.model_dump()


def _measured(finding: FindingRecord, values: Sequence[Measured]) -> list[dict[str, Any]]:
    there = {m.name: m for m in finding.measurements}
    unknown = [value.name for value in values if value.name not in there]
    if unknown:
        msg = f"the finding has no measurement {unknown[0]!r}"
        raise Conflict(msg)
    return [there[v.name].model_copy(update={"value": v.value}).model_dump() for v in values]


def _restored(undone: AssessmentRecord, history: Sequence[AssessmentRecord]) -> dict[str, Any]:
    """Return the row that says again what was said before `undone`; `history` is newest first."""
    same = (r for r in history if r.tracking_uid == undone.tracking_uid and r.id < undone.id)
    none: dict[str, object] = {"verdict": Verdict.WITHDRAWN, "reason": "", "comment": ""}
    none |= {"instead": None, "measured": (), "object_uid": None}
    before = next(same, undone.model_copy(update=none))
    return before.model_dump(mode="json", include=_SAID) | {"undoes": undone.action}
