"""Why something was not read, not measured or not sure: a stable code and a sentence."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A refusal or doubt that a person understands and a program can match.

    `code` is stable, upper case with underscores; `text` is one English sentence with the numbers.
    """

    code: str
    text: str
