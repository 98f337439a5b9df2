"""Why something was not read, not measured or not sure: a stable code, a sentence and its numbers.

How to give a reason: ``reason("MISSING_SLICES", missing=2, count=40, positions_mm=(10.0, 15.0))``.
The code is a literal with an entry in `imaging.sentence_table`: one English and one Chinese
sentence whose ``{fields}`` are the keywords given here. A new reason is a new entry there; a test
checks every call in the code against the table.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from imaging.errors import WetreadError
from imaging.sentences import Value, sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A refusal, a doubt or a choice that a person understands and a program can match.

    Attributes
    ----------
    code
        Stable, upper case with underscores.
    text
        One English sentence with the numbers, without a full stop.
    numbers
        What the sentence is filled with, by name; lengths are in the unit that the name ends with.
    """

    code: str
    text: str
    numbers: tuple[tuple[str, Value], ...] = ()

    @property
    def text_zh(self) -> str:
        """The same sentence in Chinese; in English if it was given in words only."""
        return sentence(self.code, dict(self.numbers), language="zh") or self.text


def reason(code: str, **numbers: Value) -> Reason:
    """Return the reason `code` with its numbers.

    Raises
    ------
    KeyError
        `imaging.sentence_table` has no such code, or its sentence has a field that is not given.
    """
    text = sentence(code, numbers, language="en")
    if text is None:
        raise KeyError(code)
    return Reason(code=code, text=text, numbers=tuple(numbers.items()))


def reason_again(code: str, numbers: Mapping[str, Value]) -> Reason:
    """Return a reason that was given before and was kept as its code and its numbers."""
    return reason(code, **numbers)


def reason_of(error: WetreadError) -> Reason:
    """Return the reason that an error amounts to: `PixelsUnreadable` is PIXELS_UNREADABLE."""
    return reason(error.code, detail=str(error))
