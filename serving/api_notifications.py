"""REST under /api for notifications: what other systems are told, again or no more."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from serving.api import PROBLEM
from serving.messages import Message, Messages, MessageState

router = APIRouter(prefix="/api/notifications", tags=["notifications"])


def _messages(request: Request) -> Messages:
    messages: Messages = request.app.state.messages
    return messages


MessagesDep = Annotated[Messages, Depends(_messages)]


@router.get("")
def list_notifications(
    messages: MessagesDep,
    state: MessageState | None = None,
    study_uid: str | None = None,
    *,
    target: str | None = None,
) -> list[Message]:
    """List notifications, newest first, with the last answer of the receiver."""
    return list(messages.listed(study_uid=study_uid, state=state, target=target))


@router.post("/retry", status_code=202, responses={409: PROBLEM})
def retry_notifications(
    messages: MessagesDep, study_uid: str | None = None, target: str | None = None
) -> list[Message]:
    """Try at once what waits, was refused or given up; returns these as they were."""
    return list(messages.start_over(study_uid=study_uid, target=target))


@router.post("/{message_id}/cancel", responses={404: PROBLEM, 409: PROBLEM})
def cancel_notification(message_id: str, messages: MessagesDep) -> Message:
    """Send a notification that waits no more."""
    return messages.cancel(message_id)
