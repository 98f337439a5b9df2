"""The order of waiting work: the more urgent first, and among equals one study of each sender."""

from collections.abc import Mapping

_TURNS = 10_000_000
PRIORITIES = range(1, 100)


def next_turn(waiting: Mapping[str, tuple[int, int]], sender: str) -> int:
    """Return the turn of a new study of `sender` among equally urgent ones.

    `waiting` gives the first and last turn in which studies of each sender wait. A sender's studies
    take one turn after the other; one that had none waiting joins the turn that is on.
    """
    now = min((first for first, _ in waiting.values()), default=0)
    return waiting[sender][1] + 1 if sender in waiting else now


def place(priority: int, turn: int) -> int:
    """Return the number by which the work engine orders: lower ones first."""
    return priority * _TURNS + min(turn, _TURNS - 1)
