"""Names and other text of a data set, in whatever character set it was written.

pydicom keeps the escape bytes of some sets, replaces what does not fit, and splits values at bytes
that may be half a character; so text is read here from the bytes as they arrived.
"""

from collections.abc import Iterable
from copy import deepcopy

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import PersonName

from imaging.charsets import UTF_8, Reading, read, well_declared

_CHARACTER_SET = Tag("SpecificCharacterSet")
_MANY = frozenset(("LO", "SH", "PN", "UC"))
_ONE = frozenset(("LT", "ST", "UT"))  # a backslash is a character of the text (PS3.5 6.2)
_PADDING = " \0"


def texts_of(ds: Dataset, keyword: str) -> tuple[str, ...] | None:
    """Return the values of a text attribute, without padding; ``None`` when it is not raw text."""
    element = _element(ds, Tag(keyword))
    raw = _raw(element)
    if element is None or raw is None or (vr := _vr(element)) not in _MANY | _ONE:
        return None
    text = read(raw, declared(ds)).text
    if vr == "PN":
        text = text.rstrip(f"={_PADDING}")  # empty component groups say nothing (PS3.5 6.2.1.1)
    values = text.split("\\") if vr in _MANY else [text]
    return tuple(value.strip(_PADDING) for value in values)


def declared(ds: Dataset) -> tuple[str, ...]:
    """Return the values of Specific Character Set as they are written; none when it is absent."""
    element = _element(ds, _CHARACTER_SET)
    value = element.value if element is not None else None
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace").split("\\")
    values = value if isinstance(value, list | tuple | MultiValue) else [value or ""]
    terms = tuple(str(term).strip(_PADDING) for term in values)
    return terms if any(terms) else ()


def well_written(ds: Dataset, tags: Iterable[BaseTag]) -> bool:
    """Whether the bytes are valid as declared: a result that copies both reads like its images."""
    terms = declared(ds)
    return well_declared(terms) and all(
        reading.as_declared for tag in tags for reading in _readings(ds, tag, terms)
    )


def in_utf_8(ds: Dataset, tags: Iterable[BaseTag]) -> Dataset:
    """Return these elements, where present, with the same text written in UTF-8 (ISO_IR 192)."""
    copy = _rewritten(ds, tags, declared(ds))
    copy.SpecificCharacterSet = UTF_8
    return copy


def _rewritten(ds: Dataset, tags: Iterable[BaseTag], inherited: tuple[str, ...]) -> Dataset:
    terms = declared(ds) or inherited
    copy = Dataset()
    for tag in tags:
        if tag == _CHARACTER_SET or tag not in ds:
            continue
        element = _element(ds, tag)
        raw, vr = _raw(element), _vr(element)
        if raw is not None and vr in _MANY | _ONE:
            text = read(raw, terms).text
            value = text.split("\\") if vr in _MANY and vr != "PN" else text
            copy.add(DataElement(tag, vr, _unpadded(value)))
        elif vr == "SQ":
            items = [_rewritten(item, list(item.keys()), terms) for item in ds[tag].value]
            copy.add(DataElement(tag, vr, items))
        else:
            copy.add(deepcopy(ds[tag]))
    return copy


def _readings(ds: Dataset, tag: BaseTag, inherited: tuple[str, ...]) -> Iterable[Reading]:
    terms = declared(ds) or inherited
    element = _element(ds, tag)
    raw, vr = _raw(element), _vr(element)
    if vr == "SQ":
        for item in ds[tag].value:
            for inner in list(item.keys()):
                yield from _readings(item, inner, terms)
    elif raw is not None and vr in _MANY | _ONE:
        yield read(raw, terms)


def _element(ds: Dataset, tag: BaseTag) -> DataElement | RawDataElement | None:
    return ds.get_item(tag) if tag in ds else None


def _raw(element: DataElement | RawDataElement | None) -> bytes | None:
    """Return the bytes of a value as they arrived, if they are still known."""
    value = element.value if element is not None else None
    if isinstance(value, PersonName):
        value = value.original_string
    return value if isinstance(value, bytes) else None


def _vr(element: DataElement | RawDataElement | None) -> str:
    """Return the value representation; that of the dictionary where the encoding has none."""
    if element is None:
        return ""
    if element.VR and element.VR != "UN":
        return str(element.VR)
    try:
        return str(dictionary_VR(element.tag))
    except KeyError:
        return "UN"


def _unpadded(value: str | list[str]) -> str | list[str]:
    if isinstance(value, str):
        return value.strip(_PADDING)
    return [part.strip(_PADDING) for part in value]
