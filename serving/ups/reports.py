"""Event reports about steps (PS3.4 CC.2.4), as DICOM JSON of N-EVENT-REPORT (PS3.18 11.13)."""

from collections.abc import Sequence

from imaging.dicom_json import JsonDataset
from serving.ups.dataset import one, values
from serving.ups.rules import (
    CONTACT_NAME,
    CONTACT_URI,
    DISCONTINUED,
    PROGRESS,
    PUSH,
    READINESS,
    REASON,
    STATE,
    STATIONS,
)
from serving.ups.step import Step

STATE_REPORT, CANCEL_REQUESTED, PROGRESS_REPORT, ASSIGNED = 1, 2, 3, 5
_WHY = (REASON, DISCONTINUED)
_ASSIGNMENT = (STATIONS, "00404034", "00404035")  # stations and people, and their organization


def state_report(step: Step) -> JsonDataset:
    """Return where a step stands."""
    why: JsonDataset = next(values(step.content, PROGRESS), {})
    told = {tag: why[tag] for tag in _WHY if tag in why}
    told[READINESS] = step.content.get(READINESS, {"vr": "CS"})
    return _report(step, STATE_REPORT, {**told, STATE: one("CS", step.state)})


def cancel_report(step: Step, asked: JsonDataset, requester: str) -> JsonDataset:
    """Return that somebody wants a step canceled, and why."""
    told = {tag: asked[tag] for tag in (*_WHY, CONTACT_URI, CONTACT_NAME) if tag in asked}
    return _report(step, CANCEL_REQUESTED, {**told, "00741236": one("AE", requester)})


def reports(before: Step | None, after: Step) -> Sequence[JsonDataset]:
    """Return what is to be told of a new or changed step."""
    old = before.content if before else {}
    found = []
    moved = before is None or before.state is not after.state
    if moved or old.get(READINESS) != after.content.get(READINESS):
        found.append(state_report(after))
    progress = after.content.get(PROGRESS)
    if not moved and old.get(PROGRESS) != progress and progress:
        found.append(_report(after, PROGRESS_REPORT, {PROGRESS: progress}))
    assignment = {tag: after.content[tag] for tag in _ASSIGNMENT if tag in after.content}
    known = {tag: old[tag] for tag in _ASSIGNMENT if tag in old}
    if any(element.get("Value") for element in assignment.values()) and assignment != known:
        found.append(_report(after, ASSIGNED, assignment))
    return found


def _report(step: Step, kind: int, content: JsonDataset) -> JsonDataset:
    return {
        "00000002": one("UI", PUSH),
        "00000100": one("US", 0x0100),
        "00000800": one("US", 1),
        "00001000": one("UI", step.ups_uid),
        "00001002": one("US", kind),
        **dict(sorted(content.items())),
    }
