"""One Unified Procedure Step as it is remembered, and as a row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from imaging.dicom_json import JsonDataset
from serving.ups.dataset import first, one
from serving.ups.rules import INPUT, PATIENT, STATE, STUDY
from serving.ups.states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One Unified Procedure Step. `workitem_uid` names the analysis that performs it, if any."""

    ups_uid: str
    content: JsonDataset
    pushed: bool
    created_at: float
    state: State = State.SCHEDULED
    transaction_uid: str | None = None
    workitem_uid: str | None = None
    ended_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowed:
    """What the database narrows a search by; empty is any."""

    states: Sequence[str] = ()
    study_uids: Sequence[str] = ()
    patient_id: str = ""
    pushed: bool = False  # only what other systems created


def row_of(step: Step) -> dict[str, object]:
    """Return a step as its row."""
    content = dict(sorted({**step.content, STATE: one("CS", step.state)}.items()))
    return {
        "ups_uid": step.ups_uid,
        "state": step.state.value,
        "transaction_uid": step.transaction_uid,
        "pushed": step.pushed,
        "workitem_uid": step.workitem_uid,
        "study_uid": first(content, STUDY) or first(content, INPUT, STUDY),
        "patient_id": first(content, PATIENT),
        "content": content,
        "created_at": step.created_at,
        "ended_at": step.ended_at,
    }


def step_of(row: sa.Row[Any]) -> Step:
    """Return a row as its step."""
    return Step(
        ups_uid=row.ups_uid,
        content=row.content,
        pushed=row.pushed,
        created_at=row.created_at,
        state=State(row.state),
        transaction_uid=row.transaction_uid,
        workitem_uid=row.workitem_uid,
        ended_at=row.ended_at,
    )
