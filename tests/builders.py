"""Valid single-frame MR and CT series made in code, for tests.

>>> images = mr_series((12, 64, 48), placed("sagittal", (1.2, 1.0, 1.0)), voxels=phantom(...))
>>> save(images, folder)
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import DSfloat

from imaging import codes
from imaging.boxed import boxed
from imaging.findings import Algorithm, Finding, Mask, Measurement, Report, Segment
from imaging.header import header_of
from imaging.identity import derived_uid
from imaging.stack import Stack, stacks_of

Affine = NDArray[np.float64]

# Unit vectors, LPS, of (column, row, slice) steps. Slices follow the normal, row x column.
_PLANES = {
    "axial": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "sagittal": ((0, 1, 0), (0, 0, -1), (-1, 0, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
}


def placed(
    plane: str = "axial",
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    *,
    origin_mm: tuple[float, float, float] = (-40.0, -50.0, -30.0),
    turn_deg: float = 0.0,
) -> Affine:
    """Affine of `imaging.geometry.Grid` for a plane, turned about the patient's x + z axis.

    `spacing_mm` is (slice, row, column).
    """
    steps = np.array(_PLANES[plane], dtype=np.float64).T
    affine = np.eye(4)
    affine[:3, :3] = _turn(turn_deg) @ steps * np.array(spacing_mm[::-1])
    affine[:3, 3] = origin_mm
    return affine


def mr_series(
    shape: tuple[int, int, int],
    affine: Affine | None = None,
    *,
    voxels: ArrayLike | None = None,
    **header: object,
) -> list[Dataset]:
    """T1-weighted MR slices in grid order; `header` sets or (with ``None``) removes attributes."""
    images = _series("MR", MRImageStorage, shape, affine, voxels, header)
    return [_with(image, _MR, header) for image in images]


def ct_series(
    shape: tuple[int, int, int],
    affine: Affine | None = None,
    *,
    voxels: ArrayLike | None = None,
    **header: object,
) -> list[Dataset]:
    """CT slices in grid order; `voxels` are Hounsfield units."""
    values = np.zeros(shape) if voxels is None else np.asarray(voxels)
    stored = np.clip(values + 1024, 0, 4095)
    images = _series("CT", CTImageStorage, shape, affine, stored, header)
    return [_with(image, _CT, header) for image in images]


def report_on(
    images: Sequence[Dataset],
    masks: Sequence[Mask] = (),
    findings: Sequence[Finding] | None = None,
    **changes: Any,
) -> Report:
    """A report on a series: one measured finding for each mask, unless `findings` are given."""
    (stack,) = stacks_of([header_of(image) for image in images])
    assert isinstance(stack, Stack), stack
    report = Report(
        algorithm=ALGORITHM,
        grid=stack.grid,
        instances=stack.instances,
        findings=tuple(findings or ()),
        segments=tuple(_segment(number, mask) for number, mask in enumerate(masks, 1)),
        result_key="key",
        created=datetime(2024, 2, 1, 9, 30, 15, 250000, tzinfo=UTC),
    )
    if findings is None:
        measured = tuple(_measured(segment, report) for segment in report.segments)
        report = replace(report, findings=measured)
    return replace(report, **changes)


def save(images: Sequence[Dataset], folder: Path) -> list[Path]:
    """Write Part 10 files named by instance number; return their paths in the given order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{image.SeriesNumber}-{image.InstanceNumber:04d}.dcm" for image in images]
    for image, path in zip(images, paths, strict=True):
        dcmwrite(path, image, enforce_file_format=True)
    return paths


ALGORITHM = Algorithm(
    name="brain-extraction",
    version="0.1",
    title="Brain extraction",
    manufacturer="Example Lab",
    digest="ab" * 32,
    settings_digest="cd" * 32,
    device_uid=derived_uid("test", "device"),
)


def _segment(number: int, mask: Mask) -> Segment:
    return Segment(
        number=number,
        label=f"Brain {number}",
        category=codes.ANATOMICAL_STRUCTURE,
        type=codes.BRAIN,
        cielab=(60.0, 40.0 * (-1) ** number, 30.0),
        region=boxed(mask),
    )


def _measured(segment: Segment, report: Report) -> Finding:
    volume_ml = float(segment.mask.sum()) * report.grid.voxel_ml
    return Finding(
        tracking_id=f"brain-extraction/{segment.label}",
        tracking_uid=derived_uid("finding", report.result_key, segment.label),
        concept=codes.BRAIN,
        site=codes.HEAD,
        statement=f"{segment.label}: {volume_ml:.2f} ml. Research use only, unverified.",
        measurements=(Measurement(name=codes.VOLUME, value=volume_ml, unit=codes.MILLILITRE),),
        segment_number=segment.number,
        evidence=tuple(header.instance_uid for header in report.instances),
    )


_MR: dict[str, object] = {
    "ScanningSequence": "GR",
    "SequenceVariant": "SP",
    "ScanOptions": "",
    "MRAcquisitionType": "3D",
    "RepetitionTime": "9.7",
    "EchoTime": "4.0",
    "EchoTrainLength": "1",
    "FlipAngle": "12",
    "MagneticFieldStrength": "1.5",
    "BitsStored": 16,
    "HighBit": 15,
    "WindowCenter": "500",
    "WindowWidth": "1000",
}
_CT: dict[str, object] = {
    "KVP": "120",
    "AcquisitionNumber": 1,
    "RescaleIntercept": "-1024",
    "RescaleSlope": "1",
    "RescaleType": "HU",
    "BitsStored": 12,
    "HighBit": 11,
    "WindowCenter": "40",
    "WindowWidth": "80",
}


def _series(
    modality: str,
    sop_class_uid: str,
    shape: tuple[int, int, int],
    affine: Affine | None,
    stored: ArrayLike | None,
    header: dict[str, object],
) -> list[Dataset]:
    affine = placed() if affine is None else affine
    planes = np.asarray(np.zeros(shape) if stored is None else stored).astype("<u2")
    assert planes.shape == shape
    name = str(header.get("SeriesInstanceUID") or f"{modality}{shape}{affine.round(6).tolist()}")
    return [
        _slice(index, plane, affine, name, modality, sop_class_uid)
        for index, plane in enumerate(planes)
    ]


def _slice(
    index: int,
    plane: NDArray[np.uint16],
    affine: Affine,
    name: str,
    modality: str,
    sop_class_uid: str,
) -> Dataset:
    image = Dataset()
    image.Modality, image.SOPClassUID = modality, sop_class_uid
    image.SpecificCharacterSet = "ISO_IR 192"
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL" if modality == "CT" else "M"]
    image.SOPInstanceUID = derived_uid("test", name, str(index))
    image.StudyDate = image.SeriesDate = image.ContentDate = image.AcquisitionDate = "20240131"
    image.StudyTime = image.SeriesTime = image.ContentTime = image.AcquisitionTime = "101500"
    image.AccessionNumber, image.StudyID = "A123", "S1"
    image.StudyDescription = "Head"
    image.SeriesDescription = f"{modality} test"
    image.Manufacturer, image.ManufacturerModelName = "Tests", "Phantom"
    image.ReferringPhysicianName = "Referrer^Rita"
    image.PatientName, image.PatientID = "Phantom^Phyllis", "PH-1"
    image.PatientBirthDate, image.PatientSex, image.PatientAge = "19700101", "F", "054Y"
    image.BodyPartExamined, image.PatientPosition = "HEAD", "HFS"
    image.StudyInstanceUID = derived_uid("test", name, "study")
    image.SeriesInstanceUID = derived_uid("test", name, "series")
    image.FrameOfReferenceUID = derived_uid("test", name, "frame")
    image.PositionReferenceIndicator = ""
    image.SeriesNumber, image.InstanceNumber = 3, index + 1
    _geometry(image, index, affine)
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = plane.shape
    image.BitsAllocated, image.PixelRepresentation = 16, 0
    image.PixelData = plane.tobytes()
    return image


def _geometry(image: Dataset, index: int, affine: Affine) -> None:
    column, row, step = affine[:3, :3].T
    across, down, apart = (float(np.linalg.norm(v)) for v in (column, row, step))
    image.ImageOrientationPatient = _decimals([*column / across, *row / down])
    image.ImagePositionPatient = _decimals(affine[:3, 3] + index * step)
    image.PixelSpacing = _decimals([down, across])
    image.SliceThickness = _decimals([apart])[0]


def _with(image: Dataset, defaults: dict[str, object], header: dict[str, object]) -> Dataset:
    for keyword, value in {**defaults, **header}.items():
        if value is None:
            image.pop(keyword, None)
        else:
            setattr(image, keyword, value)
    image.file_meta = FileMetaDataset()
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image


def _decimals(numbers: ArrayLike) -> list[DSfloat]:
    return [DSfloat(float(number), auto_format=True) for number in np.asarray(numbers)]


def _turn(degrees: float) -> Affine:
    axis, angle = np.array([1.0, 0.0, 1.0]) / np.sqrt(2), np.radians(degrees)
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation: Affine = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return rotation
