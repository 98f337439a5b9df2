"""Read a TOML table value by value; every problem is noted, none stops the reading."""

import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import TypeVar

from imaging.codes import Code

_CODE_PARTS = 3
PLACEHOLDER = "REPLACE"  # stands where only a person can say what is meant

Choice = TypeVar("Choice", bound=StrEnum)


class Table:
    """One table of a document; `place` is its dotted name, `problems` is shared by all its tables.

    A value that is missing or wrong is noted and an empty one returned. `close` notes what nobody
    read, so that a misspelt key cannot go unseen.
    """

    def __init__(self, content: Mapping[str, object], place: str, problems: list[str]) -> None:
        self._content = content
        self._place = place
        self._problems = problems
        self._read: set[str] = set()

    def close(self) -> None:
        """Note every key that was not read."""
        for key in self._content.keys() - self._read:
            self.note(key, "is not known")

    def note(self, key: str, what: str) -> None:
        """Note a problem with the value of a key."""
        self._problems.append(f"{self._place_of(key)} {what}")

    def text(self, key: str, *, pattern: str = r"[\s\S]+", default: str | None = None) -> str:
        """Return a text that matches `pattern`."""
        value = self._value(key, default)
        if value is None:
            return ""
        if not isinstance(value, str) or (value != default and not re.fullmatch(pattern, value)):
            self.note(key, "is not a text" if not isinstance(value, str) else "is not allowed")
            return ""
        if value.startswith(PLACEHOLDER):
            self.note(key, "still has to be filled in")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts; none when the key is absent."""
        value = self._value(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.note(key, "is not a list of texts")
            return ()
        if PLACEHOLDER in value:
            self.note(key, f"still has to be filled in: {' '.join(value)}")
        return tuple(value)

    def choices(self, key: str, among: Collection[str]) -> tuple[str, ...]:
        """Return a list of texts that are all in `among`; none when the key is absent."""
        values = self.texts(key)
        unknown = [value for value in values if value not in among]
        if unknown:
            self.note(key, f"has {', '.join(unknown)}, not among {', '.join(among)}")
        return values

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            self.note(key, "is not true or false")
            return default
        return value

    def choice(self, key: str, kind: type[Choice], default: Choice | None = None) -> Choice:
        """Return a member of `kind`."""
        first = next(iter(kind))
        value = self._value(key, default)
        if value is not None and value not in set(kind):
            self.note(key, f"is {value!r}, not one of {', '.join(kind)}")
        return next((member for member in kind if member == value), first)

    def number(
        self, key: str, default: float | None = None, *, low: float = 0.0, high: float = 1e6
    ) -> float:
        """Return a number from `low` to `high`."""
        value = self._value(key, default)
        return 0.0 if value is None else self._bounded(key, value, (low, high))

    def optional_number(self, key: str) -> float | None:
        """Return a number that is not negative, or None when the key is absent."""
        return self.number(key) if key in self._content else None

    def integer(self, key: str, default: int | None = None, *, low: int = 0) -> int:
        """Return a whole number, at least `low`."""
        value = self._value(key, default)
        if value is None:
            return low
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            self.note(key, f"is not a whole number from {low}")
            return low
        return value

    def optional_integer(self, key: str) -> int | None:
        """Return a whole number from 1, or None when the key is absent."""
        return self.integer(key, low=1) if key in self._content else None

    def numbers(
        self, key: str, count: int, *, low: float = 0.0, high: float = 1e6
    ) -> tuple[float, ...] | None:
        """Return a list of `count` numbers from `low` to `high`, or None when the key is absent."""
        if key not in self._content:
            return None
        value = self._value(key, None)
        if not isinstance(value, list) or len(value) != count:
            self.note(key, f"is not a list of {count} numbers")
            return None
        return tuple(self._bounded(key, item, (low, high)) for item in value)

    def integers(self, key: str) -> tuple[int, ...]:
        """Return a list of whole numbers from 1; none when the key is absent."""
        value = self._value(key, [])
        if not isinstance(value, list) or not all(type(each) is int and each > 0 for each in value):
            self.note(key, "is not a list of whole numbers from 1")
            return ()
        return tuple(value)

    def code(self, key: str) -> Code:
        """Return a coded concept, written as [value, scheme, meaning]."""
        parts = self.texts(key)
        if len(parts) != _CODE_PARTS or not all(parts):
            self.note(key, "is not a code [value, scheme, meaning]")
            return Code("", "", "")
        return Code(*parts)

    def figures(self) -> dict[str, str]:
        """Return every text of this table by its key."""
        return {key: self.text(key) for key in self._content}

    def content(self, key: str) -> Mapping[str, object]:
        """Return a table inside this one as it is written; an absent one is empty."""
        value = self._content.get(key)
        return value if isinstance(value, dict) else {}

    def table(self, key: str) -> "Table":
        """Return a table inside this one; an absent one is empty."""
        value = self._value(key, {})
        if not isinstance(value, dict):
            self.note(key, "is not a table")
            value = {}
        return Table(value, self._place_of(key), self._problems)

    def named_tables(self, pattern: str) -> dict[str, "Table"]:
        """Return the tables inside this one whose names match `pattern`."""
        names = [key for key, value in self._content.items() if isinstance(value, dict)]
        return {key: self.table(key) for key in names if re.fullmatch(pattern, key)}

    def tables(
        self, key: str, *, beneath: Mapping[str, object] | None = None
    ) -> tuple["Table", ...]:
        """Return the tables of an array of tables; none when the key is absent.

        What one does not say is taken from `beneath`.
        """
        value = self._value(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.note(key, "is not an array of tables")
            return ()
        place = self._place_of(key)
        return tuple(
            Table({**(beneath or {}), **item}, f"{place}[{index}]", self._problems)
            for index, item in enumerate(value)
        )

    def _value(self, key: str, default: object) -> object:
        self._read.add(key)
        value = self._content.get(key, default)
        if value is None:
            self.note(key, "is missing")
        return value

    def _bounded(self, key: str, value: object, bounds: tuple[float, float]) -> float:
        low, high = bounds
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.note(key, "is not a number")
            return low
        if not low <= value <= high:
            self.note(key, f"is {value:g}, not from {low:g} to {high:g}")
            return low
        return float(value)

    def _place_of(self, key: str) -> str:
        return f"{self._place}.{key}" if self._place else key


def two(values: tuple[float, ...] | None) -> tuple[float, float] | None:
    """Return the two numbers of a list that was read."""
    return (values[0], values[1]) if values else None


def three(values: tuple[float, ...] | None) -> tuple[float, float, float] | None:
    """Return the three numbers of a list that was read."""
    return (values[0], values[1], values[2]) if values else None
