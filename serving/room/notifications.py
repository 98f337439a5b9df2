"""The page of notifications: which systems are told, what hinders it, and what waits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dicom_node.index import Index
from imaging.errors import NotFound
from serving.api_notifications import MessagesDep
from serving.messages import Message, MessageEvent, Messages, MessageState
from serving.notify.target import Target
from serving.room.pages import RoomDep, html

MOST = 100  # messages that are shown
EVENTS: dict[MessageEvent, str] = {
    "completed": "analysed",
    "not_performed": "not analysed",
    "failed": "analysis failed",
    "canceled": "analysis canceled",
    "assessed": "assessed",
}
COUNTED: tuple[MessageState, ...] = ("waiting", "refused", "failed", "delivered")
Standing = Literal["told", "silent", "waiting", "failing", "nothing yet", "not configured"]

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetLine:
    """How it stands with one target; `trouble` is the newest message that it did not take."""

    name: str
    kind: str
    place: str
    standing: Standing
    counts: dict[MessageState, int]
    delivered_at: float | None
    trouble: Message | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLine:
    """A message that was not taken, and whose study it is about."""

    message: Message
    event: str
    patient_name: str
    patient_id: str


@router.get("/notifications")
def notifications(request: Request, room: RoomDep, messages: MessagesDep) -> Response:
    """Show every target, and the newest messages that wait, were refused or given up."""
    troubles = messages.open(limit=MOST)
    return html(
        request,
        room,
        "notifications.html",
        targets=list(_targets(request.app.state.targets, messages, troubles)),
        lines=[_line(message, room.index) for message in troubles],
        counted=COUNTED,
        now=room.clock(),
    )


def _targets(
    known: Sequence[Target], messages: Messages, troubles: Sequence[Message]
) -> Iterator[TargetLine]:
    counts, delivered = messages.counts_by_target(), messages.last_delivered()
    configured = {target.name: target for target in known}
    names = [*configured, *sorted({name for name, _ in counts} - configured.keys())]
    for name in names:
        mine = [message for message in troubles if message.target == name]
        target = configured.get(name)
        tried = [message for message in mine if message.attempts]
        yield TargetLine(
            name=name,
            kind=target.kind if target else "",
            place=":".join(map(str, target.address())) if target else "",
            standing=_standing(tried, delivered.get(name)) if target else "not configured",
            counts={state: counts.get((name, state), 0) for state in COUNTED},
            delivered_at=delivered.get(name),
            trouble=tried[0] if tried else None,
        )


def _standing(tried: Sequence[Message], delivered_at: float | None) -> Standing:
    waiting = [message for message in tried if message.state == "waiting"]
    if waiting:
        return "waiting" if any(message.answer for message in waiting) else "silent"
    if any((message.ended_at or 0.0) > (delivered_at or 0.0) for message in tried):
        return "failing"
    return "told" if delivered_at else "nothing yet"


def _line(message: Message, index: Index) -> MessageLine:
    try:
        study = index.study(message.study_uid)
        name, patient_id = study.patient_name, study.patient_id
    except NotFound:  # it was removed meanwhile
        name = patient_id = ""
    event = EVENTS[message.event]
    return MessageLine(message=message, event=event, patient_name=name, patient_id=patient_id)
