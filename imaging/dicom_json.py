"""A data set in the DICOM JSON model (PS3.18 annex F), whatever its header is like.

Text is read in the character set it was written in. A number that is none stays the text that the
sender wrote, and what cannot be told at all is left empty. Nothing here raises.
"""

import base64
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.valuerep import PersonName

from imaging.attributes import UNCONVERTIBLE, integer
from imaging.charsets import UTF_8, read
from imaging.scan import PIXEL_DATA
from imaging.text import declared

JsonElement = dict[str, Any]
JsonDataset = dict[str, JsonElement]

LARGEST_INLINE = 1024  # bytes of a binary value; a larger one is fetched by its address
_CHARACTER_SET, _TRAILING_PADDING, _META_GROUP = 0x00080005, 0xFFFCFFFC, 0x0002
_BINARY = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN"))
_NUMBERS = {
    "FD": "d", "FL": "f", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q",
}  # fmt: skip
_ONE_TEXT = frozenset(("LT", "ST", "UR", "UT"))
_CODED_TEXT = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_PADDING = " \0"
_BYTES_OF_TAG = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Bytes of a file."""

    offset: int
    length: int


@dataclass(slots=True, kw_only=True)
class Bulk:
    """How large binary values are addressed, by tag, and where those lie that were left out."""

    address: Callable[[str], str]
    places: dict[str, Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Context:
    """What a data set says of its values, or the one around it: character sets, signed pixels."""

    terms: Sequence[str] = ()
    signed: bool = False

    def within(self, ds: Dataset) -> "_Context":
        terms = declared(ds) or self.terms
        return _Context(terms, integer(ds, "PixelRepresentation") == 1 or self.signed)


def json_of(ds: Dataset, bulk: Bulk | None = None) -> JsonDataset:
    """Return a data set without file meta information and pixel data.

    Large binary values of the top level that were read from a file become addresses and are noted
    in `bulk`; all others are inline.
    """
    context = _Context().within(ds)
    found = {
        hex_tag(tag): _large(ds, tag, bulk) or _element(ds, tag, context)
        for tag in _tags(ds)
        if tag not in PIXEL_DATA
    }
    return _in_utf_8(found)


def hex_tag(tag: int) -> str:
    """Return a tag as it is written in DICOM JSON: eight hexadecimal digits."""
    return f"{tag:08X}"


def name_of(text: str) -> dict[str, str]:
    """Return the component groups of a person name (PS3.18 F.2.2)."""
    groups = zip(_NAME_GROUPS, text.split("="), strict=False)
    return {group: part.strip(_PADDING) for group, part in groups if part.strip(_PADDING)}


def _tags(ds: Dataset) -> list[BaseTag]:
    tags = (tag for tag in list(ds.keys()) if tag.element and tag.group != _META_GROUP)
    return sorted(tag for tag in tags if tag != _TRAILING_PADDING)


def _in_utf_8(found: JsonDataset) -> JsonDataset:
    if hex_tag(_CHARACTER_SET) in found:
        found[hex_tag(_CHARACTER_SET)] = {"vr": "CS", "Value": [UTF_8]}
    return found


def _item(ds: Dataset, around: _Context) -> JsonDataset:
    context = around.within(ds)
    return _in_utf_8({hex_tag(tag): _element(ds, tag, context) for tag in _tags(ds)})


def _large(ds: Dataset, tag: BaseTag, bulk: Bulk | None) -> JsonElement | None:
    element: DataElement | RawDataElement | None = ds.get_item(tag)
    if bulk is None or not isinstance(element, RawDataElement) or not element.value:
        return None
    vr = _vr(element, signed=False)
    if vr not in _BINARY or len(element.value) <= LARGEST_INLINE:
        return None
    name = hex_tag(tag)
    bulk.places[name] = Place(offset=element.value_tell, length=len(element.value))
    return {"vr": vr, "BulkDataURI": bulk.address(name)}


def _element(ds: Dataset, tag: BaseTag, context: _Context) -> JsonElement:
    element: DataElement | RawDataElement | None = ds.get_item(tag)
    vr = _vr(element, signed=context.signed)
    if vr == "SQ":
        items = [_item(item, context) for item in _items(ds, tag)]
        return {"vr": vr, "Value": items} if items else {"vr": vr}
    if isinstance(element, RawDataElement):
        values = _raw_values(element, vr, context.terms)
    else:
        values = _values(element, vr)
    if values is None:
        return {"vr": vr}
    return {"vr": vr, "InlineBinary" if vr in _BINARY else "Value": values}


def _items(ds: Dataset, tag: BaseTag) -> Sequence[Dataset]:
    try:
        return list(ds[tag].value or ())
    except UNCONVERTIBLE:
        return ()


def _vr(element: DataElement | RawDataElement | None, *, signed: bool) -> str:
    """Return the value representation, that of the dictionary where the encoding has none."""
    assert element is not None
    vr = element.VR
    if not vr or vr == "UN" or " or " in vr:
        vr = _dictionary_vr(int(element.tag)) if not vr or vr == "UN" else vr
        vr = ("SS" if signed else "US") if vr.startswith("US or SS") else vr
        vr = "OW" if " or " in vr else vr
        if vr == "SQ" and isinstance(element, RawDataElement) and element.VR == "UN":
            return "UN"  # items in a nested encoding that nobody declared
    return str(vr)


@cache
def _dictionary_vr(tag: int) -> str:
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return "UN"


# Values


def _raw_values(element: RawDataElement, vr: str, terms: Sequence[str]) -> Any:
    """Return the values of an element straight from its bytes."""
    raw = element.value or b""
    order = "<" if element.is_little_endian else ">"
    if not raw:
        return None
    if vr in _BINARY:
        return base64.b64encode(_little(raw, vr, order)).decode("ascii")
    if vr in _NUMBERS:
        return _unpacked(raw, order, _NUMBERS[vr])
    if vr == "AT":
        whole = len(raw) - len(raw) % _BYTES_OF_TAG
        pairs = struct.iter_unpack(order + "HH", raw[:whole])
        return [f"{group:04X}{number:04X}" for group, number in pairs]
    text = read(raw, terms).text if vr in _CODED_TEXT else raw.decode("latin_1")
    return _texts(text, vr)


def _texts(text: str, vr: str) -> list[Any] | None:
    parts = [text] if vr in _ONE_TEXT else text.split("\\")
    values = [_value(part.rstrip(_PADDING), vr) for part in parts]
    return values if any(value is not None for value in values) else None


def _value(text: str, vr: str) -> Any:
    plain = text if vr in _ONE_TEXT else text.strip(_PADDING)
    if not plain:
        return None
    match vr:
        case "PN":
            return name_of(plain) or None
        case "DS" | "IS":
            return _number(plain, whole=vr == "IS")
        case _:
            return plain


def _number(text: str, *, whole: bool) -> int | float | str:
    """Return the number that is written; text that is none stays as it is (PS3.18 F.2.3.1)."""
    try:
        value = float(text)
    except ValueError:
        return text
    if not math.isfinite(value) or (whole and value != int(value)):
        return text
    return int(value) if whole else value


def _unpacked(raw: bytes, order: str, code: str) -> list[Any]:
    size = struct.calcsize(code)
    count = len(raw) // size
    values = struct.unpack_from(f"{order}{count}{code}", raw)
    if code in "df":
        return [_finite(value) for value in values]
    return list(values)


def _finite(value: float) -> float | str:
    """Return what JSON has no number for as text (PS3.18 F.2.3.1)."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _little(raw: bytes, vr: str, order: str) -> bytes:
    size = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}.get(vr, 1)
    if order == "<" or size == 1 or len(raw) % size:
        return raw
    return b"".join(raw[at : at + size][::-1] for at in range(0, len(raw), size))


def _values(element: DataElement | None, vr: str) -> Any:
    """Return the values of an element that pydicom has converted already."""
    value = element.value if element is not None else None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii") or None
    if value is None or vr in _BINARY:
        return None
    many = list(value) if isinstance(value, (list, tuple, MultiValue)) else [value]
    if vr == "AT":
        return [hex_tag(int(each)) for each in many]
    if vr in _NUMBERS:
        return [_finite(float(each)) if vr in {"FD", "FL"} else int(each) for each in many]
    return _texts("\\".join(_written(each) for each in many), vr)


def _written(value: object) -> str:
    if isinstance(value, PersonName):
        return "=".join(value.components)
    return str(getattr(value, "original_string", None) or value)
