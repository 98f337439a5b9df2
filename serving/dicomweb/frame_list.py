"""The list of frames in an address."""

from collections.abc import Sequence

from imaging.errors import InputError, NotFound

_DIGITS = 10


def frame_numbers(text: str, count: int) -> Sequence[int]:
    """Return the frames of a path, counted from 1, of an instance that has `count`.

    Raises
    ------
    InputError
        It is no list of numbers.
    NotFound
        The instance has no such frame.
    """
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and len(part) < _DIGITS for part in parts):
        msg = f"{text[:64]!r} is not a list of frame numbers"
        raise InputError(msg)
    numbers = [int(part) for part in parts]
    if not count:
        msg = "the instance has no frames"
        raise NotFound(msg)
    if not all(1 <= number <= count for number in numbers):
        msg = f"the instance has frames 1 to {count}"
        raise NotFound(msg)
    return numbers
