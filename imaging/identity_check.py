"""Whether bytes that are given away still hold the identity of their source.

An independent judge of `imaging.deidentify`: it shares no code with it, knows no attributes, and
looks for what the source says of people in every byte outside of the pixels, in each encoding.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from imaging.attributes import UNCONVERTIBLE
from imaging.charsets import read
from imaging.text import declared

_ENCODINGS = (
    "utf_8",
    "utf_16_le",
    "utf_16_be",
    "gb18030",
    "iso2022_jp",
    "euc_kr",
    "latin_1",
    "cp1251",
)
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{12,}={0,2}")
_IDENTIFYING = (
    "PatientName",
    "PatientID",
    "OtherPatientNames",
    "OtherPatientIDs",
    "PatientBirthDate",
    "PatientBirthName",
    "PatientMotherBirthName",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "MilitaryRank",
    "MedicalRecordLocator",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "OperatorsName",
    "NameOfPhysiciansReadingStudy",
    "RequestingPhysician",
    "PhysiciansOfRecord",
    "AccessionNumber",
    "InstitutionName",
    "InstitutionAddress",
    "DeviceSerialNumber",
    "StationName",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "FrameOfReferenceUID",
)
_LEAST_WORD, _LEAST_IDEOGRAPHS, _LEAST_ID = 4, 2, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """An identity that was found: whose attribute it is, never what it says."""

    keyword: str
    encoding: str


def identities_of(ds: Dataset) -> dict[str, frozenset[str]]:
    """Return what the attributes that identify people say, in lower case, by keyword."""
    terms = declared(ds)
    return {
        keyword: frozenset(_pieces(_text(ds, keyword, terms)))
        for keyword in _IDENTIFYING
        if keyword in ds
    }


def leaks(part10: bytes, identities: dict[str, frozenset[str]]) -> tuple[Leak, ...]:
    """Return the identities that a Part 10 file still holds outside of its pixels."""
    haystacks = tuple(_haystacks(_without_pixels(part10)))
    return tuple(
        Leak(keyword=keyword, encoding=encoding)
        for keyword, pieces in identities.items()
        for encoding, haystack in haystacks
        if any(_holds(haystack, piece) for piece in pieces)
    )


def _without_pixels(raw: bytes) -> bytes:
    """Return a file without the value of its pixel data; any other file as it is."""
    try:
        ds = dcmread(BytesIO(raw))
        pixels = ds.PixelData if "PixelData" in ds else b""
    except (InvalidDicomError, *UNCONVERTIBLE):
        return raw
    return raw.replace(pixels, b"", 1) if pixels else raw


def _haystacks(raw: bytes) -> Iterator[tuple[str, str]]:
    for encoding in _ENCODINGS:
        yield encoding, raw.decode(encoding, "ignore").lower()
    yield "utf_16_le", raw[1:].decode("utf_16_le", "ignore").lower()
    for found in _BASE64.findall(raw):
        try:
            inner = base64.b64decode(found + b"=" * (-len(found) % 4))
        except (binascii.Error, ValueError):
            continue
        yield "base64", inner.decode("utf_8", "ignore").lower()


def _holds(haystack: str, piece: str) -> bool:
    if piece.isascii():
        return re.search(rf"(?<![a-z0-9.]){re.escape(piece)}(?![a-z0-9])", haystack) is not None
    return piece in haystack


def _text(ds: Dataset, keyword: str, terms: Iterable[str]) -> str:
    try:
        value = ds.get_item(keyword).value
        if hasattr(value, "original_string"):
            value = value.original_string
    except UNCONVERTIBLE:
        return ""
    if isinstance(value, bytes):
        return read(value, tuple(terms)).text
    return "\\".join(map(str, value)) if isinstance(value, list | tuple) else str(value or "")


def _pieces(text: str) -> Iterator[str]:
    """Yield the parts of a value that would betray it: long enough not to be there by chance."""
    for value in text.lower().split("\\"):
        whole = value.strip(" \0^=")
        if re.fullmatch(r"[\d.]{20,}", whole):
            yield whole
            continue
        for word in re.split(r"[\W_]+", whole):
            least = _LEAST_ID if word.isdigit() else _LEAST_WORD
            if len(word) >= (least if word.isascii() else _LEAST_IDEOGRAPHS):
                yield word
