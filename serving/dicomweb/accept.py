"""Which of the media types that a client accepts it gets (PS3.18 8.7, RFC 9110 12.5.1)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request

DICOM, DICOM_JSON, OCTETS = (
    "application/dicom",
    "application/dicom+json",
    "application/octet-stream",
)
MULTIPART = "multipart/related"
ANY_SYNTAX = "*"
_PART = re.compile(r'\s*((?:"(?:[^"\\]|\\.)*"|[^,;"])*)([,;]|$)')
_LONGEST = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRange:
    """One range of an Accept header; `inner` is the type of the parts where it is multipart.

    `transfer_syntax` is ``""`` where none is named.
    """

    multipart: bool
    inner: str
    transfer_syntax: str
    quality: float

    def takes(self, media_type: str) -> bool:
        """Whether this range includes a media type."""
        if self.inner == "*/*":
            return True
        if self.inner.endswith("/*"):
            return media_type.startswith(self.inner[:-1])
        return self.inner == media_type


def accepted(request: Request) -> Sequence[MediaRange]:
    """Return what the client accepts, the most wanted first.

    The query parameter `accept` counts instead of the header where it is given (PS3.18 8.3.3.1).
    """
    values = request.query_params.getlist("accept") or request.headers.getlist("accept")
    text = ",".join(values)[:_LONGEST]
    ranges = [each for fields in _ranges(text or "*/*") if (each := _range(fields))]
    return sorted((r for r in ranges if r.quality > 0), key=lambda r: -r.quality)


def require(request: Request, *offered: str) -> str:
    """Return the offered media type of a plain (not multipart) answer.

    Raises
    ------
    HTTPException
        406: none of them is accepted.
    """
    for each in accepted(request):
        for media_type in offered:
            if not each.multipart and each.takes(media_type):
                return media_type
    raise not_acceptable(offered)


def not_acceptable(offered: Iterable[str]) -> HTTPException:
    """Return the error that nothing which is accepted can be given."""
    return HTTPException(406, f"only {', '.join(offered)} can be given here")


def media_type_of(text: str) -> tuple[str, dict[str, str]]:
    """Return a media type in lower case, and its parameters."""
    fields = next(iter(_ranges(text[:_LONGEST])), [""])
    return fields[0].lower(), _parameters(fields[1:])


def _ranges(text: str) -> list[list[str]]:
    """Split at commas into ranges and at semicolons into fields, but not within quotes."""
    found: list[list[str]] = [[]]
    at = 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            break
        found[-1].append(part[1].strip())
        if part[2] == ",":
            found.append([])
        at = part.end()
    return [fields for fields in found if fields and fields[0]]


def _parameters(fields: Iterable[str]) -> dict[str, str]:
    pairs = (field.partition("=") for field in fields)
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def _range(fields: Sequence[str]) -> MediaRange | None:
    outer, parameters = fields[0].lower(), _parameters(fields[1:])
    multipart = outer == MULTIPART
    try:
        quality = float(parameters.get("q", "1"))
    except ValueError:
        return None
    return MediaRange(
        multipart=multipart,
        inner=parameters.get("type", "*/*").lower() if multipart else outer,
        transfer_syntax=parameters.get("transfer-syntax", ""),
        quality=quality,
    )
