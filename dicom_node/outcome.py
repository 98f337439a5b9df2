"""What became of instances that were sent to a destination, however they were sent.

C-STORE statuses (PS3.4 B.2.3) and the reasons of STOW-RS (PS3.18 I.2.2) are the same numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

SUCCESS = 0x0000
SOP_CLASS_NOT_SUPPORTED = 0x0122
CANNOT_UNDERSTAND = 0xC000
_WARNINGS = range(0xB000, 0xC000)  # stored, with remarks
# Our UIDs derive from content, so what is there under the same UID is the same.
_DUPLICATE_INSTANCE = 0x0111
_PROCESSING_FAILURE = 0x0110
_PASSING = frozenset({_PROCESSING_FAILURE, _DUPLICATE_INSTANCE})
_PERMANENT = (range(0x0100, 0x0200), range(0xA900, 0xAA00), range(0xC000, 0xD000))
_WORDS = {SOP_CLASS_NOT_SUPPORTED: "the destination does not take this kind of object"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOutcome:
    """What became of each instance: its status, ``None`` without an answer.

    `statuses` is empty when the destination could not be reached. `text` says what went wrong, and
    is empty when nothing did; `remarks` are what is known of an instance beside its status.
    """

    statuses: Mapping[str, int | None]
    text: str
    remarks: Mapping[str, str] = field(default_factory=dict)

    @property
    def stored(self) -> frozenset[str]:
        """What the destination says it has."""
        return frozenset(uid for uid, status in self.statuses.items() if _is_stored(status))

    @property
    def refused(self) -> frozenset[str]:
        """What was refused for what it is, so that trying again is of no use."""
        return frozenset(uid for uid, status in self.statuses.items() if _is_permanent(status))

    def words(self, instance_uid: str) -> str:
        """Return what the destination said about an instance."""
        return _words(self.statuses.get(instance_uid), self.remarks.get(instance_uid, ""))


def outcome_of(
    statuses: Mapping[str, int | None], remarks: Mapping[str, str] | None = None
) -> SendOutcome:
    """Return the outcome with these statuses, what went wrong in words."""
    said = remarks or {}
    failed = [uid for uid, status in statuses.items() if not _is_stored(status)]
    named = sorted({_words(statuses[uid], said.get(uid, "")) for uid in failed})
    text = f"{len(failed)} of {len(statuses)} not stored: {', '.join(named)}" if failed else ""
    return SendOutcome(statuses=statuses, text=text, remarks=said)


def _words(status: int | None, remark: str = "") -> str:
    if status is None:
        return remark or "no answer"
    remark = remark or _WORDS.get(status, "")
    return f"status {status:04X}" + (f" ({remark})" if remark else "")


def _is_stored(status: int | None) -> bool:
    return status in {SUCCESS, _DUPLICATE_INSTANCE} or status in _WARNINGS


def _is_permanent(status: int | None) -> bool:
    if status is None or status in _PASSING:
        return False
    return any(status in statuses for statuses in _PERMANENT)
