"""Typed, tolerant reading of a data set's header. The one place that reads attributes by keyword.

A value that is absent, empty or not parseable is ``None`` (or an empty string or tuple); whether
that matters is for the caller to decide.
"""

import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom.config
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from imaging.errors import MalformedInstance, NotDicom
from imaging.identity import InstanceUID, SeriesUID, StudyUID, checked_uid

# Real headers break value rules all the time; what matters is checked here, value by value.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """Patient module (PS3.3 C.7.1.1), as text."""

    patient_id: str
    name: str
    birth_date: str
    sex: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """General Study module (PS3.3 C.7.2.1)."""

    study_uid: StudyUID
    date: str
    time: str
    study_id: str
    accession_number: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """General Series and Equipment modules (PS3.3 C.7.3.1, C.7.5.1)."""

    series_uid: SeriesUID
    modality: str
    number: int | None
    description: str
    protocol: str
    body_part: str
    manufacturer: str
    model_name: str
    patient_position: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """What decides the kind of image: MR timing in milliseconds, contrast, CT kernel."""

    image_type: tuple[str, ...]
    scanning_sequence: tuple[str, ...]
    sequence_name: str
    repetition_time_ms: float | None
    echo_time_ms: float | None
    inversion_time_ms: float | None
    flip_angle_deg: float | None
    b_value: float | None
    contrast_agent: str
    kernel: str
    gantry_tilt_deg: float | None
    number: int | None
    temporal_position: int | None
    echo_number: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """Image Plane and Image Pixel modules (PS3.3 C.7.6.2, C.7.6.3). Positions are LPS mm.

    `pixel_spacing_mm` is (between rows, between columns), as in the standard. `rescale` is
    (slope, intercept) and is ``None`` unless both are present.
    """

    rows: int | None
    columns: int | None
    frames: int
    samples: int
    photometric: str
    bits_allocated: int | None
    bits_stored: int | None
    signed: bool
    rescale: Vector | None
    padding: int | None
    padding_limit: int | None
    position: Vector | None
    orientation: Vector | None
    pixel_spacing_mm: Vector | None
    slice_thickness_mm: float | None
    slice_spacing_mm: float | None
    frame_of_reference_uid: str
    window: Vector | None
    lossy: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceHeader:
    """One SOP instance without its pixels; `path` is where its Part 10 file lies, if it has one."""

    instance_uid: InstanceUID
    sop_class_uid: str
    transfer_syntax_uid: str
    instance_number: int | None
    patient: Patient
    study: Study
    series: Series
    acquisition: Acquisition
    image: Image
    path: Path | None


def read_dataset(source: Path | bytes) -> Dataset:
    """Return the data set of a Part 10 file without its pixel data.

    Raises
    ------
    NotDicom
        There is no DICM prefix.
    MalformedInstance
        The file is DICOM but damaged.
    """
    try:
        stream = BytesIO(source) if isinstance(source, bytes) else source
        return dcmread(stream, stop_before_pixels=True)
    except InvalidDicomError as error:
        raise NotDicom from error
    except (EOFError, ValueError, NotImplementedError, AttributeError, RecursionError) as error:
        msg = f"the header cannot be read: {error}"
        raise MalformedInstance(msg) from error


def read_header(path: Path) -> InstanceHeader:
    """Return the header of a Part 10 file."""
    return header_of(read_dataset(path), path=path)


def header_of(ds: Dataset, *, path: Path | None = None) -> InstanceHeader:
    """Return the header of a data set.

    Raises
    ------
    MalformedInstance
        A UID that every instance must have is missing or is not a UID.
    """
    meta: Any = getattr(ds, "file_meta", Dataset())
    return InstanceHeader(
        instance_uid=InstanceUID(checked_uid(_text(ds, "SOPInstanceUID"), "SOP Instance UID")),
        sop_class_uid=checked_uid(_text(ds, "SOPClassUID"), "SOP Class UID"),
        transfer_syntax_uid=_text(meta, "TransferSyntaxUID"),
        instance_number=_integer(ds, "InstanceNumber"),
        patient=_patient(ds),
        study=_study(ds),
        series=_series(ds),
        acquisition=_acquisition(ds),
        image=_image(ds),
        path=path,
    )


def _patient(ds: Dataset) -> Patient:
    return Patient(
        patient_id=_text(ds, "PatientID"),
        name=_text(ds, "PatientName"),
        birth_date=_text(ds, "PatientBirthDate"),
        sex=_text(ds, "PatientSex"),
    )


def _study(ds: Dataset) -> Study:
    return Study(
        study_uid=StudyUID(checked_uid(_text(ds, "StudyInstanceUID"), "Study Instance UID")),
        date=_text(ds, "StudyDate"),
        time=_text(ds, "StudyTime"),
        study_id=_text(ds, "StudyID"),
        accession_number=_text(ds, "AccessionNumber"),
        description=_text(ds, "StudyDescription"),
    )


def _series(ds: Dataset) -> Series:
    return Series(
        series_uid=SeriesUID(checked_uid(_text(ds, "SeriesInstanceUID"), "Series Instance UID")),
        modality=_text(ds, "Modality").upper(),
        number=_integer(ds, "SeriesNumber"),
        description=_text(ds, "SeriesDescription"),
        protocol=_text(ds, "ProtocolName"),
        body_part=_text(ds, "BodyPartExamined").upper(),
        manufacturer=_text(ds, "Manufacturer"),
        model_name=_text(ds, "ManufacturerModelName"),
        patient_position=_text(ds, "PatientPosition").upper(),
    )


def _acquisition(ds: Dataset) -> Acquisition:
    return Acquisition(
        image_type=_texts(ds, "ImageType"),
        scanning_sequence=_texts(ds, "ScanningSequence"),
        sequence_name=_text(ds, "SequenceName"),
        repetition_time_ms=_number(ds, "RepetitionTime"),
        echo_time_ms=_number(ds, "EchoTime"),
        inversion_time_ms=_number(ds, "InversionTime"),
        flip_angle_deg=_number(ds, "FlipAngle"),
        b_value=_number(ds, "DiffusionBValue"),
        contrast_agent=_text(ds, "ContrastBolusAgent"),
        kernel="\\".join(_texts(ds, "ConvolutionKernel")),
        gantry_tilt_deg=_number(ds, "GantryDetectorTilt"),
        number=_integer(ds, "AcquisitionNumber"),
        temporal_position=_integer(ds, "TemporalPositionIdentifier"),
        echo_number=_integer(ds, "EchoNumbers"),
    )


def _image(ds: Dataset) -> Image:
    slope, intercept = _number(ds, "RescaleSlope"), _number(ds, "RescaleIntercept")
    center, width = _vector(ds, "WindowCenter"), _vector(ds, "WindowWidth")
    return Image(
        rows=_integer(ds, "Rows"),
        columns=_integer(ds, "Columns"),
        frames=_integer(ds, "NumberOfFrames") or 1,
        samples=_integer(ds, "SamplesPerPixel") or 1,
        photometric=_text(ds, "PhotometricInterpretation").upper(),
        bits_allocated=_integer(ds, "BitsAllocated"),
        bits_stored=_integer(ds, "BitsStored"),
        signed=_integer(ds, "PixelRepresentation") == 1,
        rescale=None if slope is None or intercept is None else (slope, intercept),
        padding=_integer(ds, "PixelPaddingValue"),
        padding_limit=_integer(ds, "PixelPaddingRangeLimit"),
        position=_vector(ds, "ImagePositionPatient", 3),
        orientation=_vector(ds, "ImageOrientationPatient", 6),
        pixel_spacing_mm=_vector(ds, "PixelSpacing", 2),
        slice_thickness_mm=_number(ds, "SliceThickness"),
        slice_spacing_mm=_number(ds, "SpacingBetweenSlices"),
        frame_of_reference_uid=_text(ds, "FrameOfReferenceUID"),
        window=(center[0], width[0]) if center and width else None,
        lossy=_text(ds, "LossyImageCompression") == "01",
    )


def _value(ds: Dataset, keyword: str) -> Any:
    try:
        return ds.get(keyword)
    except (ValueError, TypeError, KeyError, NotImplementedError, AttributeError, OverflowError):
        return None  # the value cannot be converted: the same as absent


def _texts(ds: Dataset, keyword: str) -> tuple[str, ...]:
    value = _value(ds, keyword)
    if value is None:
        return ()
    values = value if isinstance(value, (list, tuple, pydicom.multival.MultiValue)) else [value]
    return tuple(str(v).strip(" \0") for v in values)


def _text(ds: Dataset, keyword: str) -> str:
    return "\\".join(_texts(ds, keyword))


def _vector(ds: Dataset, keyword: str, length: int | None = None) -> Vector | None:
    try:
        numbers = tuple(float(text) for text in _texts(ds, keyword))
    except ValueError:
        return None
    if not numbers or not all(map(math.isfinite, numbers)):
        return None
    return numbers if length in {None, len(numbers)} else None


def _number(ds: Dataset, keyword: str) -> float | None:
    numbers = _vector(ds, keyword)
    return numbers[0] if numbers else None


def _integer(ds: Dataset, keyword: str) -> int | None:
    number = _number(ds, keyword)
    return int(number) if number is not None and number == int(number) else None
