"""Typed, tolerant reading of a data set's header: the one place that knows the keywords."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom.config
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian

from imaging.attributes import (
    Attributes,
    Vector,
    integer,
    number,
    text,
    texts,
    vector,
)
from imaging.deflated import is_deflated, plain_start
from imaging.diffusion import b_value, gradient
from imaging.entities import Patient, Series, Study, patient_of, series_of, study_of
from imaging.errors import MalformedInstance, NotDicom
from imaging.identity import InstanceUID, checked_uid
from imaging.image import Image, image_of
from imaging.parts import Concatenation, Tile, concatenation_of
from imaging.reasons import Reason
from imaging.suv import Uptake, uptake_of
from imaging.technique import Technique, complex_component, technique_of

# Real headers break value rules all the time; what matters is checked here, value by value.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

_META_ENDS = 1024  # file meta information is a few hundred bytes
_MAX_HEADER = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """What decides the kind of image: MR timing in milliseconds, contrast, CT kernel.

    `gradient` is the diffusion direction as a unit vector, `moment` the date and time of the
    acquisition as text, `stack_id` and `dimensions` are those of a frame (PS3.3 C.7.6.17).
    """

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
    complex_component: str
    gradient: Vector | None
    trigger_time_ms: float | None
    phase_percent: float | None
    reference_time_ms: float | None
    moment: str
    kilovolts: float | None
    label: str
    stack_id: str
    dimensions: Vector
    technique: Technique


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceHeader:
    """One image without its pixels; `path` is where its Part 10 file lies, if it has one.

    `frame` counts from 0 when the image is one frame of a multi-frame instance
    (`imaging.frames`), `tile` says which part of a mosaic it is; ``None`` is the instance as a
    whole. `pixels_at` is the byte of the file where the pixel data element begins, if it has one
    and is not deflated. `uptake` is the SUV factor of PET, or why there is none.
    """

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
    frame: int | None = None
    pixels_at: int | None = None
    uptake: Uptake | Reason | None = None
    tile: Tile | None = None
    concatenation: Concatenation | None = None

    @property
    def part(self) -> int | None:
        """Which frame or tile of its instance the image is; ``None`` when it is all of it."""
        return self.tile.number if self.tile else self.frame

    @property
    def image_key(self) -> str:
        """What tells this image from every other: the instance UID, and the part if it is one."""
        return self.instance_uid if self.part is None else f"{self.instance_uid}#{self.part + 1}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part10:
    """A data set without its pixel data, and the byte where they begin or would begin."""

    dataset: Dataset
    pixels_at: int | None


def read_dataset(source: Path | bytes) -> Dataset:
    """Return the data set of a Part 10 file without its pixel data.

    Raises
    ------
    NotDicom
        There is no DICM prefix.
    MalformedInstance
        The file is DICOM but damaged.
    """
    return read_part10(source).dataset


def read_part10(source: Path | bytes) -> Part10:
    """Return the same with the place of the pixel data; errors as `read_dataset`."""
    try:
        with BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
            if is_deflated(stream.read(_META_ENDS)):
                stream.seek(0)
                return _deflated(stream.read())
            stream.seek(0)
            ds = dcmread(stream, stop_before_pixels=True)
            return Part10(dataset=ds, pixels_at=stream.tell())
    except InvalidDicomError as error:
        raise NotDicom from error
    except (EOFError, ValueError, NotImplementedError, AttributeError, RecursionError) as error:
        msg = f"the header cannot be read: {error}"
        raise MalformedInstance(msg) from error


def _deflated(raw: bytes) -> Part10:
    """Read no more than a large header of what a deflated file inflates to."""
    ds = dcmread(BytesIO(plain_start(raw, _MAX_HEADER)), stop_before_pixels=True)
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return Part10(dataset=ds, pixels_at=None)


def read_header(path: Path) -> InstanceHeader:
    """Return the header of a Part 10 file."""
    part10 = read_part10(path)
    return header_of(part10.dataset, path=path, pixels_at=part10.pixels_at)


def header_of(
    ds: Dataset, *, path: Path | None = None, pixels_at: int | None = None
) -> InstanceHeader:
    """Return the header of a data set.

    Raises
    ------
    MalformedInstance
        A UID that every instance must have is missing or is not a UID.
    """
    meta: Any = getattr(ds, "file_meta", Dataset())
    syntax, series = text(meta, "TransferSyntaxUID"), series_of(ds)
    return InstanceHeader(
        instance_uid=InstanceUID(checked_uid(text(ds, "SOPInstanceUID"), "SOP Instance UID")),
        sop_class_uid=checked_uid(text(ds, "SOPClassUID"), "SOP Class UID"),
        transfer_syntax_uid=syntax,
        instance_number=integer(ds, "InstanceNumber"),
        patient=patient_of(ds),
        study=study_of(ds),
        series=series,
        acquisition=acquisition_of(ds),
        image=image_of(ds, syntax),
        path=path,
        pixels_at=pixels_at,
        uptake=uptake_of(ds) if series.modality == "PT" else None,
        concatenation=concatenation_of(ds),
    )


def acquisition_of(ds: Attributes) -> Acquisition:
    """Return the acquisition of an instance or of one frame."""
    return Acquisition(
        image_type=texts(ds, "ImageType"),
        scanning_sequence=texts(ds, "ScanningSequence"),
        sequence_name=text(ds, "SequenceName"),
        repetition_time_ms=number(ds, "RepetitionTime"),
        echo_time_ms=number(ds, "EchoTime"),
        inversion_time_ms=number(ds, "InversionTime"),
        flip_angle_deg=number(ds, "FlipAngle"),
        b_value=b_value(ds),
        contrast_agent=text(ds, "ContrastBolusAgent"),
        kernel="\\".join(texts(ds, "ConvolutionKernel")),
        gantry_tilt_deg=number(ds, "GantryDetectorTilt"),
        number=integer(ds, "AcquisitionNumber"),
        temporal_position=integer(ds, "TemporalPositionIdentifier"),
        echo_number=integer(ds, "EchoNumbers"),
        complex_component=complex_component(ds),
        gradient=gradient(ds),
        trigger_time_ms=number(ds, "TriggerTime"),
        phase_percent=number(ds, "NominalPercentageOfCardiacPhase"),
        reference_time_ms=number(ds, "FrameReferenceTime"),
        moment=_moment(ds),
        kilovolts=number(ds, "KVP"),
        label=text(ds, "ASLContext"),
        stack_id=text(ds, "StackID"),
        dimensions=vector(ds, "DimensionIndexValues") or (),
        technique=technique_of(ds),
    )


def _moment(ds: Attributes) -> str:
    whole = text(ds, "AcquisitionDateTime")
    return whole or text(ds, "AcquisitionDate") + text(ds, "AcquisitionTime")
