"""What a receiver made of one message."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["delivered", "refused", "waiting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """`delivered`: it has the message; `refused`: it never will; `waiting`: perhaps later.

    `answer` is the code of the answer, empty without one; only that may be logged. `words` say
    more, and may be the receiver's own, which can name a patient. `retry_in_s` is what it asks for.
    """

    verdict: Verdict
    answer: str = ""
    words: str = ""
    retry_in_s: float = 0.0
