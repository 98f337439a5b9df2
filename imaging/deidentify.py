"""De-identification of instances (PS3.15 Annex E): what is not known to be harmless goes.

Basic Application Level Confidentiality Profile with the options Clean Structured Content, Clean
Descriptors, Retain Longitudinal Temporal Information with Modified Dates and Retain Patient
Characteristics. Beyond the profile, text keeps the words of `imaging.harmless_words` only,
codes are those that the standard names, and pixels are written anew without compression. What may
show a name in its pixels is refused.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from pydicom import DataElement, Dataset, dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataset import FileMetaDataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, ExplicitVRLittleEndian

from imaging.attributes import UNCONVERTIBLE, number
from imaging.burned_in import why_refused
from imaging.codes import Code
from imaging.confidentiality_table import ACTIONS
from imaging.deidentified_values import cleaned, code_item, dummy, words_of
from imaging.errors import MalformedInstance
from imaging.findings import Mask
from imaging.header import header_of, read_part10
from imaging.identity import derived_uid
from imaging.pseudonyms import Pseudonyms
from imaging.read import stored_values
from imaging.reasons import Reason

_IMPLEMENTATION_UID = UID(derived_uid("de-identification"))
_OPTIONS = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113104", "Clean Structured Content Option"),
    ("113105", "Clean Descriptors Option"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
)
_FACELESS = ("113102", "Clean Recognizable Visual Features Option")
_LAST_FILE_GROUP, _PIXEL_GROUP, _PADDING_GROUP = 0x0007, 0x7FE0, 0xFFFA
_REPEATING = (0x5000, 0x6000)  # curves and overlays
_NAME, _ID, _CHARACTERS = Tag("PatientName"), Tag("PatientID"), Tag("SpecificCharacterSet")
_CHARACTERISTICS = frozenset(
    Tag(k) for k in ("PatientSex", "PatientAge", "PatientSize", "PatientWeight")
)
_DESCRIPTORS = frozenset(
    Tag(k)
    for k in (
        "StudyDescription",
        "SeriesDescription",
        "ProtocolName",
        "PerformedProcedureStepDescription",
        "RequestedProcedureDescription",
        "ContrastBolusAgent",
        "ImageComments",
        "AcquisitionProtocolDescription",
    )
)
_NEVER_DATES = frozenset(Tag(k) for k in ("PatientBirthDate", "PatientBirthTime"))
_MOMENTS = frozenset(("DA", "DT", "TM"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Deidentifier:
    """De-identifies the instances of one patient.

    `forbidden` are words in capitals that go even where they are harmless otherwise: those of the
    patient's own name. `codes` are known beside those of the standard, by scheme and value.
    """

    pseudonyms: Pseudonyms
    patient_id: str
    forbidden: frozenset[str] = frozenset()
    codes: Mapping[tuple[str, str], Code] = field(default_factory=dict)

    def instance(self, path: Path, *, hidden: Mask | None = None) -> bytes | Reason:
        """Return a de-identified Part 10 file, or why the instance may not be given away.

        `hidden`, (frame, row, column), is blackened: what would show a face.

        Raises
        ------
        InputError
            It cannot be read.
        """
        part10 = read_part10(path)
        source = part10.dataset
        if why := why_refused(source):
            return why
        clean = self.dataset(source)
        if source.get("Modality") == "SEG":
            clean.add_new(Tag("PixelData"), "OB", _bits(path, source))
        elif "Rows" in source:
            header = header_of(source, path=path, pixels_at=part10.pixels_at)
            values = stored_values([header])
            if hidden is not None:
                values[hidden] = values.min()
                clean.RecognizableVisualFeatures = "NO"
                clean.DeidentificationMethodCodeSequence.append(_code(*_FACELESS))
            clean.BitsAllocated = 8 * values.dtype.itemsize
            clean.HighBit = clean.BitsStored - 1
            raw = values.tobytes()
            vr = "OB" if values.dtype.itemsize == 1 else "OW"
            clean.add_new(Tag("PixelData"), vr, raw + b"\0" * (len(raw) % 2))
        return _part10(clean)

    def dataset(self, source: Dataset) -> Dataset:
        """Return the header of an instance without identity, with what PS3.15 E.1 adds to it."""
        clean = self._cleaned(source)
        pseudonym = self.pseudonyms.patient(self.patient_id)
        clean.PatientName = clean.PatientID = pseudonym
        clean.PatientIdentityRemoved = "YES"
        clean.LongitudinalTemporalInformationModified = "MODIFIED"
        clean.DeidentificationMethod = "DICOM PS3.15 Annex E; harmless words only"
        clean.DeidentificationMethodCodeSequence = [
            _code(value, meaning) for value, meaning in _OPTIONS
        ]
        return clean

    def _cleaned(self, source: Dataset) -> Dataset:
        clean = Dataset()
        for element in _elements(source):
            replacement = self._replaced(element)
            if replacement is not None:
                clean.add(replacement)
        return clean

    def _replaced(self, element: DataElement) -> DataElement | None:
        tag, action = element.tag, ACTIONS.get(int(element.tag), "K")
        if tag in {_NAME, _ID, _CHARACTERS}:
            return None
        if tag in _CHARACTERISTICS | _DESCRIPTORS or (
            element.VR in _MOMENTS and tag not in _NEVER_DATES
        ):
            return self._kept(element) or _emptied(element, action)
        if action in {"K", "D", "U", "X/Z/U*"}:
            return self._kept(element) or (
                _emptied(element, "Z") if action == "K" else dummy(element)
            )
        if action == "X":
            return None
        return dummy(element) if "D" in action else _emptied(element, action)

    def _kept(self, element: DataElement) -> DataElement | None:
        """Return what is left of an element when it is cleaned."""
        if element.VR != "SQ":
            return cleaned(
                element,
                uid=self.pseudonyms.uid,
                shift_days=self.pseudonyms.shift_days(self.patient_id),
                forbidden=self.forbidden | words_of([self.patient_id]),
            )
        items = [clean for item in element.value if (clean := self._item(item)) is not None]
        return DataElement(element.tag, "SQ", items) if items or not element.value else None

    def _item(self, item: Dataset) -> Dataset | None:
        if any(k in item for k in ("CodeValue", "LongCodeValue", "URNCodeValue")):
            return code_item(item, self.codes)
        return self._cleaned(item)


def _elements(source: Dataset) -> Iterator[DataElement]:
    """Yield the elements whose tag and value representation are those of the standard."""
    for tag in sorted(source.keys()):
        if not _may_stay(tag):
            continue
        try:
            allowed = dictionary_VR(tag).split(" or ")
            element = source[tag]
        except UNCONVERTIBLE:
            continue  # unknown, or not to be understood
        if element.VR in allowed:
            yield element


def _may_stay(tag: BaseTag) -> bool:
    group = tag.group
    return not (
        tag.is_private
        or group <= _LAST_FILE_GROUP
        or group >= _PADDING_GROUP
        or group == _PIXEL_GROUP
        or group & 0xFF00 in _REPEATING
    )


def _emptied(element: DataElement, action: str) -> DataElement | None:
    """Return an element without value, if it may stay so: most sequences need an item."""
    if element.VR == "SQ":
        return DataElement(element.tag, "SQ", []) if action == "Z" and not element.value else None
    return DataElement(element.tag, element.VR, None) if "Z" in action else None


def _bits(path: Path, source: Dataset) -> bytes:
    """Return the frames of a segmentation, and nothing that may follow them."""
    whole = dcmread(path)
    values = bytes(whole.get("PixelData", b""))
    rows, columns = (number(source, keyword) or 0 for keyword in ("Rows", "Columns"))
    bits = number(source, "BitsAllocated")
    size = math.ceil(rows * columns * (number(source, "NumberOfFrames") or 1) * (bits or 0) / 8)
    native = not whole.file_meta.TransferSyntaxUID.is_encapsulated
    if not native or len(values) < size or bits not in {1, 8}:
        msg = "the segmentation is shorter than its frames, or of a kind that is not read"
        raise MalformedInstance(msg)
    return values[:size] + b"\0" * (size % 2)


def _part10(clean: Dataset) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = clean.SOPClassUID
    meta.MediaStorageSOPInstanceUID = clean.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _IMPLEMENTATION_UID
    clean.file_meta = meta
    stream = BytesIO()
    clean.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item
