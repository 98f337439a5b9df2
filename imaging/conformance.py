"""Whether a result object conforms: our own checks always, dciodvfy's where it is installed.

A result that breaks the standard is held back, because PACS refuse or, worse, half-accept it.
"""

import shutil
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom import Dataset, dcmread
from pydicom.uid import (
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    EnhancedSRStorage,
    KeyObjectSelectionDocumentStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from imaging.errors import MalformedInstance
from imaging.identity import checked_uid, is_uid
from imaging.objects import OPTIONAL_OF_SOURCE, REQUIRED_OF_SOURCE, encoded

_TIME_LIMIT_S = 60.0
_ALWAYS = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality",
    "SeriesNumber", "InstanceNumber", "SeriesDate", "SeriesTime", "ContentDate", "ContentTime",
    "Manufacturer", "ManufacturerModelName", "SoftwareVersions",
)  # fmt: skip
_PIXELS = (
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "PixelData",
)  # fmt: skip
_SELECTION = (
    "ValueType", "ConceptNameCodeSequence", "ContinuityOfContent", "ContentSequence",
    "CurrentRequestedProcedureEvidenceSequence",
)  # fmt: skip
_DOCUMENT = ("CompletionFlag", "VerificationFlag", *_SELECTION)
_REQUIRED = {
    SegmentationStorage: (
        *_PIXELS, "SegmentationType", "SegmentSequence", "NumberOfFrames", "DeviceSerialNumber",
        "FrameOfReferenceUID", "ReferencedSeriesSequence", "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence", "DimensionIndexSequence", "ContentLabel",
    ),
    Comprehensive3DSRStorage: (*_DOCUMENT, "ContentTemplateSequence"),
    BasicTextSRStorage: _DOCUMENT,
    EnhancedSRStorage: _DOCUMENT,
    KeyObjectSelectionDocumentStorage: (*_SELECTION, "ContentTemplateSequence"),
    SecondaryCaptureImageStorage: (
        *_PIXELS, "ConversionType", "BurnedInAnnotation", "SourceImageSequence",
    ),
}  # fmt: skip
# Error lines of dciodvfy that do not hold a result back.
_TOLERATED = (
    # The sender's UIDs must be repeated as they are; our own are checked strictly above.
    "Leading zeroes in embedded numeric component(s)",
    # A summary that follows each of the errors it counts.
    "Dicom dataset contains invalid data values for Value Representations",
)
_MEASUREMENT_REPORT = ("126000", "DCM")


def problems(data: bytes) -> tuple[str, ...]:
    """Return everything that is wrong with an encoded result object; empty when it conforms.

    Values that were copied from the source are checked for presence only: they are the sender's,
    and a result must not be withheld for them.
    """
    ds = dcmread(BytesIO(data))
    if ds.get("SOPClassUID") not in _REQUIRED:
        return (f"SOP class {ds.get('SOPClassUID')} is not one of our result objects",)
    missing = tuple(_missing(ds))
    own = missing or (*_bad_uids(ds), *_by_kind(ds))
    return (*own, *_dciodvfy(ds))


def _missing(ds: Dataset) -> Iterator[str]:
    for keyword in (*_ALWAYS, *_REQUIRED[ds.SOPClassUID]):
        value = ds.get(keyword)
        if value is None or (hasattr(value, "__len__") and len(value) == 0):
            yield f"{keyword} is missing or empty"
    yield from (f"{k} is missing" for k in REQUIRED_OF_SOURCE if k not in ds)


def _bad_uids(ds: Dataset) -> Iterator[str]:
    """Our UIDs must be strictly valid; the sender's may have what real devices send."""
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        if not is_uid(ds[keyword].value):
            yield f"{keyword} is not a valid UID"
    for element in ds.iterall():
        if element.VR == "UI":
            values = element.value if element.VM > 1 else [element.value]
            yield from (f"{element.keyword} is not a UID" for v in values if not _usable(v))


def _usable(uid: str) -> bool:
    try:
        checked_uid(str(uid), "UID")
    except MalformedInstance:
        return False
    return True


def _by_kind(ds: Dataset) -> Iterator[str]:
    if ds.SOPClassUID == SegmentationStorage:
        yield from _segmentation(ds)
    elif ds.SOPClassUID == SecondaryCaptureImageStorage:
        yield from _pixel_length(ds, frames=1)
    else:
        yield from _document(ds)


def _segmentation(ds: Dataset) -> Iterator[str]:
    frames = ds.PerFrameFunctionalGroupsSequence
    if len(frames) != ds.NumberOfFrames:
        yield f"{ds.NumberOfFrames} frames but {len(frames)} functional groups"
    yield from _pixel_length(ds, frames=int(ds.NumberOfFrames))
    numbers = [segment.SegmentNumber for segment in ds.SegmentSequence]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"segment numbers are {numbers}, not 1 to {len(numbers)}"
    listed = {
        item.ReferencedSOPInstanceUID
        for series in ds.ReferencedSeriesSequence
        for item in series.ReferencedInstanceSequence
    }
    for place, frame in enumerate(frames, 1):
        if frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber not in numbers:
            yield f"frame {place} is of a segment that is not described"
        if not _sources(frame):
            yield f"frame {place} names no source image"
        if not _sources(frame) <= listed:
            yield f"frame {place} lies on an image that is not in the referenced series"


def _sources(frame: Dataset) -> set[str]:
    return {
        source.ReferencedSOPInstanceUID
        for derivation in frame.get("DerivationImageSequence", ())
        for source in derivation.get("SourceImageSequence", ())
    }


def _pixel_length(ds: Dataset, *, frames: int) -> Iterator[str]:
    bits = ds.Rows * ds.Columns * ds.SamplesPerPixel * ds.BitsAllocated * frames
    expected = (bits + 15) // 16 * 2
    if len(ds.PixelData) != expected:
        yield f"pixel data have {len(ds.PixelData)} bytes, not {expected}"


def _document(ds: Dataset) -> Iterator[str]:
    if ds.ValueType != "CONTAINER":
        yield "the root of the document is not a container"
    selection = ds.SOPClassUID == KeyObjectSelectionDocumentStorage
    if not selection and ds.VerificationFlag != "UNVERIFIED":
        yield "machine output must be unverified"
    title = ds.ConceptNameCodeSequence[0]
    is_report = (title.get("CodeValue"), title.CodingSchemeDesignator) == _MEASUREMENT_REPORT
    if ds.SOPClassUID == Comprehensive3DSRStorage:
        template = ds.ContentTemplateSequence[0]
        if not is_report or (template.MappingResource, template.TemplateIdentifier) != (
            "DCMR",
            "1500",
        ):
            yield "the document is not a TID 1500 Imaging Measurement Report"
    unlisted = _referenced(ds) - _evidence(ds)
    yield from (f"image {uid} is used but not listed as evidence" for uid in sorted(unlisted))


def _referenced(item: Dataset) -> set[str]:
    found = {ref.ReferencedSOPInstanceUID for ref in item.get("ReferencedSOPSequence", ())}
    return found.union(*(_referenced(child) for child in item.get("ContentSequence", ())))


def _evidence(ds: Dataset) -> set[str]:
    keywords = ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
    return {
        instance.ReferencedSOPInstanceUID
        for keyword in keywords
        for study in ds.get(keyword, ())
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }


def _dciodvfy(ds: Dataset) -> tuple[str, ...]:
    """Return the "Error" lines of dicom3tools' dciodvfy; none when it is not installed."""
    program = shutil.which("dciodvfy")
    if program is None:
        return ()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "object.dcm"
        path.write_bytes(encoded(_without_copied_values(ds)))
        try:
            run = subprocess.run(  # noqa: S603  the program is found on PATH, the file is ours
                [program, str(path)],
                capture_output=True,
                check=False,
                timeout=_TIME_LIMIT_S,
            )
        except subprocess.TimeoutExpired:
            return (f"dciodvfy did not finish in {_TIME_LIMIT_S:.0f} s",)
    lines = run.stderr.decode("ascii", "replace").splitlines()
    return tuple(
        line
        for line in lines
        if line.startswith("Error") and not any(text in line for text in _TOLERATED)
    )


def _without_copied_values(ds: Dataset) -> Dataset:
    plain = Dataset()
    plain.update(ds)
    plain.file_meta = ds.file_meta
    for keyword in REQUIRED_OF_SOURCE:
        setattr(plain, keyword, None)
    # What we say ourselves is written in the declared character set too.
    for keyword in frozenset(OPTIONAL_OF_SOURCE) - {"SpecificCharacterSet"}:
        plain.pop(keyword, None)
    return plain
