"""Signed events to a web address, as Standard Webhooks has them."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

from dicom_node.scu import Timeouts
from serving.notify.post import post
from serving.notify.story import Story
from serving.notify.target import Target
from serving.notify.told import Told
from serving.records import FindingRecord

_GONE = "the receiver wants no more events (HTTP 410)"
_HTTP_GONE = 410


def composed(story: Story, target: Target) -> bytes:
    """Return an event: no name, ID or birth date of a patient, the accession number if wanted."""
    message, item = story.message, story.workitem
    data: dict[str, Any] = {
        "study_uid": message.study_uid,
        "workitem_uid": message.workitem_uid,
        "reason": {"code": item.reason_code, "text": item.reason_text}
        if item and item.reason_code
        else None,
        "findings": [_finding(finding, story) for finding in story.findings],
    }
    if target.accession:
        data["accession_number"] = story.study.accession_number
    at = datetime.fromtimestamp(message.planned_at, UTC).isoformat(timespec="milliseconds")
    event = {"type": f"study.{message.event}", "timestamp": at, "data": data}
    return json.dumps(event, ensure_ascii=False).encode()


def _finding(finding: FindingRecord, story: Story) -> dict[str, Any]:
    said = story.assessed.get(finding.tracking_uid)
    return {
        "tracking_uid": finding.tracking_uid,
        "model": finding.model,
        "model_version": finding.model_version,
        "concept": finding.concept,
        "code": finding.code.model_dump() if finding.code else None,
        "urgency": finding.urgency,
        "statement": finding.statement,
        "probability": finding.probability,
        "measurements": [m.model_dump() for m in finding.measurements],
        "verdict": said.verdict if said else None,
    }


def send(target: Target, message_id: str, body: bytes, *, at: int, timeouts: Timeouts) -> Told:
    """Post an event once; its id is the same at every attempt, so that repeats can be dropped."""
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": signature(target.key(), message_id, body, at=at),
    }
    answer = post(target.url, body, headers, context=target.tls_context(), timeouts=timeouts)
    if answer.status == _HTTP_GONE:
        return Told(verdict="refused", answer=answer.told.answer, words=_GONE)
    return answer.told


def signature(key: bytes, message_id: str, body: bytes, *, at: int) -> str:
    """Return the header that proves who sent `body`, and when."""
    digest = hmac.new(key, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
