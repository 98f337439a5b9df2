"""What an image is a part of: a mosaic, or an instance that was sent in several pieces."""

from dataclasses import dataclass

from imaging.attributes import Attributes, integer, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """Which part of a mosaic (`imaging.mosaic`) a slice is: its number and first pixel, from 0."""

    number: int
    row: int
    column: int
    of_rows: int
    of_columns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Concatenation:
    """One piece of a multi-frame image in several instances (PS3.3 C.7.6.16.2.2.4).

    `total` is how many pieces there are, ``None`` where the sender does not say.
    """

    uid: str
    number: int
    total: int | None


def concatenation_of(ds: Attributes) -> Concatenation | None:
    """Return which piece an instance is; ``None`` when it is whole."""
    uid, number = text(ds, "ConcatenationUID"), integer(ds, "InConcatenationNumber")
    if not uid or number is None:
        return None
    total = integer(ds, "InConcatenationTotalNumber")
    return Concatenation(uid=uid, number=number, total=total)
