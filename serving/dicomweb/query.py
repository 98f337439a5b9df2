"""Query parameters of QIDO-RS (PS3.18 8.3.4) as a search."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from pydicom.datadict import keyword_for_tag, tag_for_keyword
from starlette.requests import Request

from dicom_node.searching import Level, Search
from imaging.dicom_json import hex_tag
from imaging.errors import InputError

MOST = 5000  # rows in one answer
_DIGITS = 8
_LISTS = frozenset(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))
_NOT_KEYS = frozenset(("limit", "offset", "fuzzymatching", "includefield", "accept", "charset"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A search, and what else is wanted of what it finds: hexadecimal tags, or everything."""

    search: Search
    include: frozenset[str]
    include_all: bool
    capped: bool = False


def query_of(request: Request, level: Level) -> Query:
    """Return what a request asks for; keys of the path come first.

    Raises
    ------
    InputError
        A parameter is not one, or its value cannot be.
    """
    given = request.query_params
    keys: dict[str, str] = {}
    for name, value in keys_of(request):
        if name in keys and name not in _LISTS:
            msg = f"{name} is there twice"
            raise InputError(msg)
        keys[name] = f"{keys[name]}\\{value}" if name in keys else value
    fields = [each.strip() for text in given.getlist("includefield") for each in text.split(",")]
    limit = whole(given.get("limit"), "limit", otherwise=MOST)
    search = Search(
        level=level,
        keys=keys,
        fuzzy=_flag(given.get("fuzzymatching", "false")),
        limit=min(limit, MOST),
        offset=whole(given.get("offset"), "offset", otherwise=0),
    )
    return Query(
        search=_within(search, request.path_params),
        include=frozenset(hex_tag(path_of(f)[-1]) for f in fields if f not in {"", "all"}),
        include_all="all" in fields,
    )


def _within(search: Search, path: dict[str, str]) -> Search:
    """Restrict a search to the study and series of the path."""
    names = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID"}
    outer = {names[part]: uid for part, uid in path.items() if part in names}
    if outer.keys() & search.keys.keys():
        msg = f"{' and '.join(outer)}: the path names it already"
        raise InputError(msg)
    return replace(search, keys={**outer, **search.keys})


def keys_of(request: Request) -> Iterator[tuple[str, str]]:
    """Return what is to be matched: attributes by keyword, sequences first, and values."""
    given = request.query_params.multi_items()
    return pairs_of(pair for pair in given if pair[0].lower() not in _NOT_KEYS)


def pairs_of(given: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield names and values with the names as keywords, where there are such."""
    for name, value in given:
        yield ".".join(keyword_for_tag(tag) or hex_tag(tag) for tag in path_of(name)), value


def path_of(name: str) -> Sequence[int]:
    """Return the tags of an attribute, by keyword or as hexadecimal digits, sequences first."""
    return [_tag(part, name) for part in name.split(".")]


def _tag(part: str, whole: str) -> int:
    tag = tag_for_keyword(part)
    if tag is not None:
        return tag
    if not re.fullmatch(r"[0-9A-Fa-f]{8}", part):
        msg = f"{whole[:64]!r} is not an attribute"
        raise InputError(msg)
    return int(part, 16)


def whole(text: str | None, name: str, *, otherwise: int) -> int:
    """Return a parameter that is a whole number."""
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdigit()) or len(text) > _DIGITS:
        msg = f"{name} must be a whole number"
        raise InputError(msg)
    return int(text)


def _flag(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        msg = "fuzzymatching must be true or false"
        raise InputError(msg)
    return text.lower() == "true"
