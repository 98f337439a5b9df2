"""The states of a Unified Procedure Step, and what may follow what (PS3.4 table CC.1.1-2)."""

from dataclasses import dataclass
from enum import Enum, StrEnum
from types import MappingProxyType


class State(StrEnum):
    """Where a step stands."""

    SCHEDULED = "SCHEDULED"  # nobody has claimed it
    IN_PROGRESS = "IN PROGRESS"  # one performer has, and locked it with a transaction UID
    COMPLETED = "COMPLETED"  # done
    CANCELED = "CANCELED"  # given up, before or while it was performed

    @property
    def final(self) -> bool:
        """Whether nothing can follow."""
        return self in {State.COMPLETED, State.CANCELED}


class Key(Enum):
    """How the transaction UID of a request fits that of the step."""

    RIGHT = "right"
    WRONG = "wrong"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What becomes of a request: status of DIMSE and of HTTP, and a warning in words."""

    status: int
    http: int
    warning: str = ""

    @property
    def refused(self) -> bool:
        """Whether it changes nothing and is an error."""
        return self.http >= 400  # noqa: PLR2004 - HTTP's own border


_MISFIT = "The submitted request is inconsistent with the state of the UPS Instance."
_IS = "The UPS is already in the requested state of"
DONE = Ruling(status=0x0000, http=200)
IS_CANCELED = Ruling(status=0xB304, http=200, warning=f"{_IS} CANCELED.")
IS_COMPLETED = Ruling(status=0xB306, http=200, warning=f"{_IS} COMPLETED.")
ENDED = Ruling(status=0xC300, http=409, warning=_MISFIT)
NO_UPDATE = Ruling(status=0xC300, http=400, warning=_MISFIT)
MISSING_KEY = Ruling(status=0xC301, http=400, warning="The Transaction UID is missing.")
WRONG_KEY = Ruling(status=0xC301, http=400, warning="The Transaction UID is incorrect.")
IS_IN_PROGRESS = Ruling(status=0xC302, http=409, warning=_MISFIT)
NEVER_AGAIN = Ruling(status=0xC303, http=409, warning=_MISFIT)
UNMET = Ruling(status=0xC304, http=409, warning=_MISFIT)
NOT_BEGUN = Ruling(status=0xC310, http=409, warning=_MISFIT)
NOT_ANY_MORE = Ruling(status=0xC311, http=409, warning="The UPS is already COMPLETED.")
OURS = Ruling(status=0x0124, http=409, warning="Performer chooses not to give up the UPS.")
UNHEARD = Ruling(status=0xC312, http=409, warning="The performer cannot be contacted.")
ACCEPTED = Ruling(status=0x0000, http=202)

_CHANGES = MappingProxyType({
    (State.SCHEDULED, State.IN_PROGRESS): DONE,
    (State.SCHEDULED, State.COMPLETED): NOT_BEGUN,
    (State.SCHEDULED, State.CANCELED): NOT_BEGUN,
    (State.IN_PROGRESS, State.IN_PROGRESS): IS_IN_PROGRESS,
    (State.IN_PROGRESS, State.COMPLETED): DONE,
    (State.IN_PROGRESS, State.CANCELED): DONE,
    (State.COMPLETED, State.IN_PROGRESS): ENDED,
    (State.COMPLETED, State.COMPLETED): IS_COMPLETED,
    (State.COMPLETED, State.CANCELED): ENDED,
    (State.CANCELED, State.IN_PROGRESS): ENDED,
    (State.CANCELED, State.COMPLETED): ENDED,
    (State.CANCELED, State.CANCELED): IS_CANCELED,
})  # fmt: skip


def key_of(held: str | None, given: str, state: State) -> Key:
    """Return how a transaction UID fits; whoever claims a scheduled step names a new one."""
    if not given:
        return Key.MISSING
    return Key.RIGHT if state is State.SCHEDULED or given == held else Key.WRONG


def change(state: State, wanted: State, key: Key) -> Ruling:
    """Return what becomes of a request to change the state."""
    if wanted is State.SCHEDULED:
        return NEVER_AGAIN
    if key is not Key.RIGHT:
        return MISSING_KEY if key is Key.MISSING else WRONG_KEY
    return _CHANGES[state, wanted]


def update(state: State, key: Key) -> Ruling:
    """Return what becomes of a request to set attributes (PS3.4 CC.2.6.3)."""
    if state.final:
        return NO_UPDATE
    if state is State.IN_PROGRESS and key is not Key.RIGHT:
        return MISSING_KEY if key is Key.MISSING else WRONG_KEY
    return DONE


def cancel(state: State) -> Ruling:
    """Return what becomes of a request to cancel, by others than the performer."""
    match state:
        case State.COMPLETED:
            return NOT_ANY_MORE
        case State.CANCELED:
            return IS_CANCELED
        case State.SCHEDULED | State.IN_PROGRESS:
            return ACCEPTED
