"""What a worker asks an analyser and what it gets back, a line of JSON each."""

from enum import StrEnum, auto
from typing import Any

from serving.records import Record


class End(StrEnum):
    """How a step ended."""

    DONE = auto()
    """With its value."""
    FAILED = auto()
    """With an error that no part foresaw."""
    HELD_UP = auto()
    """Something that is no fault of the study was in the way: space, or the database."""
    DIED = auto()
    """Its process died, or took more memory than it may."""
    LATE = auto()
    """It was stopped because it took longer than it may."""
    INTERRUPTED = auto()
    """Another step's process was stopped, and this one was in the same."""


class Question(Record):
    """A step to take for a study; `number` is above 0."""

    number: int
    study_uid: str
    step: str
    argument: Any


class Answer(Record):
    """What became of question `number`.

    Number 0 answers none: it says that the process is ready, and which questions are `paused`
    because they wait for a device that another process has.
    """

    number: int
    end: End = End.DONE
    value: Any = None
    detail: str = ""
    paused: tuple[int, ...] = ()
