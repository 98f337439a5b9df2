"""Names of things: DICOM unique identifiers and application entity titles."""

import re
import uuid
from typing import NewType

from imaging.errors import MalformedInstance, SetupError

StudyUID = NewType("StudyUID", str)
SeriesUID = NewType("SeriesUID", str)
InstanceUID = NewType("InstanceUID", str)
AETitle = NewType("AETitle", str)

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_UID_TOLERATED = re.compile(r"[0-9]+(\.[0-9]+)+")
_UID_LENGTH = 64
_AE_LENGTH = 16
_NAMESPACE = uuid.UUID("6d4c1a3e-7f0b-5c52-9a86-0d3b5b1d5f10")


def is_uid(text: str) -> bool:
    """Whether `text` is a UID by PS3.5 section 9.1."""
    return len(text) <= _UID_LENGTH and _UID.fullmatch(text) is not None


def checked_uid(text: str | None, what: str) -> str:
    """Return `text` when it can safely serve as a UID.

    Leading zeros in a component break PS3.5 9.1 but are sent by real devices, so they pass;
    anything but digits and dots does not, because UIDs become file names.
    """
    if not text:
        msg = f"{what} is missing"
        raise MalformedInstance(msg)
    if len(text) > _UID_LENGTH or not _UID_TOLERATED.fullmatch(text):
        msg = f"{what} is not a UID"
        raise MalformedInstance(msg)
    return text


def derived_uid(*parts: str) -> str:
    """Return the UID that belongs to `parts`: the same parts always give the same UID.

    UUID-derived form of PS3.5 B.2, with a version 5 UUID over the joined parts.
    """
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(31).join(parts)).int}"


def ae_title(text: str) -> AETitle:
    """Return `text` as an AE title (PS3.5 6.2: 1 to 16 characters, no backslash or control)."""
    title = text.strip(" ")
    if not 0 < len(title) <= _AE_LENGTH or not title.isascii():
        msg = f"AE title {text!r}: 1 to {_AE_LENGTH} ASCII characters are needed"
        raise SetupError(msg)
    if "\\" in title or not title.isprintable():
        msg = f"AE title {text!r}: backslash and control characters are not allowed"
        raise SetupError(msg)
    return AETitle(title)
