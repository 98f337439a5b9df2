"""Every reason in English and in Chinese: the sentences of `imaging.sentence_table`, filled in."""

from collections.abc import Mapping
from string import Formatter
from typing import Any, Literal

from typing_extensions import override

from imaging.sentence_table import SENTENCES
from imaging.terms_zh import TERMS_ZH

Language = Literal["en", "zh"]
Languages = Literal["en", "zh", "both"]
Value = str | int | float | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]

_LISTED = 6
_JOINS = {"en": (", ", " and more", " or "), "zh": ("、", "等", "或")}


def sentence(code: str, numbers: Mapping[str, Value], *, language: Language) -> str | None:
    """Return the sentence of a code; ``None`` when there is none or a field is missing."""
    english, chinese = SENTENCES.get(code, ("", ""))
    template = chinese if language == "zh" else english
    if not template or not fields_of(code) <= numbers.keys():
        return None
    return _Filling(language).vformat(template, (), numbers)


def fields_of(code: str) -> frozenset[str]:
    """Return the names of the numbers in both sentences of a code; none when it is not known."""
    return frozenset(
        name
        for template in SENTENCES.get(code, ())
        for _, name, _, _ in Formatter().parse(template)
        if name
    )


def known_codes() -> frozenset[str]:
    """Return every code that has its sentences."""
    return frozenset(SENTENCES)


class _Filling(Formatter):
    """Fills fields in, lists and terms in the given language."""

    def __init__(self, language: Language) -> None:
        self._terms = TERMS_ZH if language == "zh" else {}
        self._comma, self._more, self._or = _JOINS[language]

    @override
    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, str):
            return format(self._terms.get(value, value), format_spec)
        if not isinstance(value, tuple):
            return format(value, format_spec)
        if all(isinstance(item, str) for item in value):
            return self._or.join(str(self._terms.get(item, item)) for item in value)
        shown = self._comma.join(format(item, format_spec) for item in value[:_LISTED])
        return shown + (self._more if len(value) > _LISTED else "")
