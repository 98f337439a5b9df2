"""Makes the demo's two DICOM studies from real images that Debian packages carry.

An MR study from Colin27 (package mricron-data) and a head CT study (package invesalius-examples).
The same input always gives the same UIDs and the same bytes.
"""

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import DSfloat

from imaging.errors import PixelsUnreadable
from imaging.identity import StudyUID, derived_uid

_CT_SHAPE = (108, 256, 256)
CT_SPACING_MM = (1.5, 0.9570312, 0.9570312)
_CT_LOWEST_HU, _CT_HIGHEST_HU = -1024, 3071

MR_ATTRIBUTES = {
    "SOPClassUID": MRImageStorage,
    "Modality": "MR",
    "ImageType": ["DERIVED", "SECONDARY", "OTHER"],
    "DerivationDescription": (
        "Colin27: average of 27 T1-weighted gradient echo scans of one volunteer, registered to "
        "MNI space, 1 mm. TR, TE and flip angle are those published for the scans."
    ),
    "PatientName": "Demo^Colin27",
    "PatientID": "DEMO-MR",
    "PatientSex": "M",
    "StudyDescription": "MR head (demo, Colin27)",
    "SeriesDescription": "T1 3D gradient echo",
    "ProtocolName": "T1 3D",
    "ScanningSequence": "GR",
    "SequenceVariant": "SP",
    "ScanOptions": "",
    "MRAcquisitionType": "3D",
    "RepetitionTime": "18",
    "EchoTime": "10",
    "EchoTrainLength": "1",
    "FlipAngle": "30",
    "MagneticFieldStrength": "1.5",
    "WindowCenter": "80",
    "WindowWidth": "160",
}
_CT_ATTRIBUTES = {
    "SOPClassUID": CTImageStorage,
    "Modality": "CT",
    "ImageType": ["DERIVED", "SECONDARY", "AXIAL"],
    "DerivationDescription": (
        "Head CT from the example project of InVesalius, written as DICOM again. "
        "Left and right of the source are not proven."
    ),
    "PatientName": "Demo^HeadCT",
    "PatientID": "DEMO-CT",
    "PatientSex": "O",
    "StudyDescription": "CT head (demo)",
    "SeriesDescription": "Head 1.5 mm",
    "ProtocolName": "Head",
    "KVP": "",
    "RescaleIntercept": str(_CT_LOWEST_HU),
    "RescaleSlope": "1",
    "RescaleType": "HU",
    "WindowCenter": "40",
    "WindowWidth": "80",
}
SHARED_ATTRIBUTES = {
    "SpecificCharacterSet": "ISO_IR 192",
    "StudyID": "DEMO",
    "AccessionNumber": "",
    "ReferringPhysicianName": "",
    "PatientBirthDate": "",
    "Manufacturer": "Wetread demo",
    "BodyPartExamined": "HEAD",
    "PatientPosition": "HFS",
    "PositionReferenceIndicator": "",
    "SeriesNumber": 1,
    "AcquisitionNumber": 1,
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoStudy:
    """A study on disk: one series, one Part 10 file for each slice."""

    study_uid: StudyUID
    modality: str
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceBlock:
    """Axial slices, (slice, row, column), feet to head, rows to posterior, columns to left.

    `origin_mm` is (x, y, z), LPS; `spacing_mm` is (slice, row, column).
    """

    name: str
    date: str
    stored: NDArray[np.uint16]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    attributes: dict[str, object]


def mr_study(nifti: Path, folder: Path) -> DemoStudy:
    """Write the MR study from ``ch2.nii.gz`` into `folder`."""
    image = sitk.DICOMOrient(sitk.ReadImage(str(nifti)), "LPS")
    across, down, apart = image.GetSpacing()
    x, y, z = image.GetOrigin()
    block = SliceBlock(
        name="colin27",
        date="20240115",
        stored=sitk.GetArrayFromImage(image).round().astype("<u2"),
        spacing_mm=(apart, down, across),
        origin_mm=(x, y, z),
        attributes={**SHARED_ATTRIBUTES, **MR_ATTRIBUTES},
    )
    return written(block, folder)


def ct_study(project: Path, folder: Path) -> DemoStudy:
    """Write the CT study from InVesalius' ``Cranium.inv3`` into `folder`.

    Raises
    ------
    PixelsUnreadable
        The project is not the head CT that is expected.
    """
    hu = project_matrix(project)[:, ::-1]  # its rows run from posterior to anterior
    extent = [(n - 1) * mm for n, mm in zip(_CT_SHAPE, CT_SPACING_MM, strict=True)]
    block = SliceBlock(
        name="cranium",
        date="20240116",
        stored=(np.clip(hu, _CT_LOWEST_HU, _CT_HIGHEST_HU) - _CT_LOWEST_HU).astype("<u2"),
        spacing_mm=CT_SPACING_MM,
        origin_mm=(-extent[2] / 2, -extent[1] / 2, 0.0),
        attributes={**SHARED_ATTRIBUTES, **_CT_ATTRIBUTES},
    )
    return written(block, folder)


def project_matrix(project: Path) -> NDArray[np.int16]:
    """Return the project's head CT in HU, (slice, row, column), rows from back to front.

    Raises
    ------
    PixelsUnreadable
        The project is not the head CT that is expected.
    """
    with tarfile.open(project) as archive:
        names = [name for name in archive.getnames() if Path(name).name == "matrix.dat"]
        stream = archive.extractfile(names[0]) if names else None
        voxels = np.frombuffer(stream.read() if stream else b"", "<i2")
    if voxels.size != np.prod(_CT_SHAPE):
        msg = f"{project}: the head CT in it is missing or has another size"
        raise PixelsUnreadable(msg)
    return voxels.reshape(_CT_SHAPE)


def written(block: SliceBlock, folder: Path) -> DemoStudy:
    """Write the slices of one series as Part 10 files; the same block gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    slices = list(_slices(block))
    paths = tuple(folder / f"{ds.InstanceNumber:04d}.dcm" for ds in slices)
    for path, ds in zip(paths, slices, strict=True):
        dcmwrite(path, ds, enforce_file_format=True)
    first = slices[0]
    return DemoStudy(
        study_uid=StudyUID(first.StudyInstanceUID), modality=first.Modality, paths=paths
    )


def _slices(block: SliceBlock) -> Iterator[Dataset]:
    digest = hashlib.sha256(block.stored.tobytes()).hexdigest()
    for index, plane in enumerate(block.stored):
        ds = Dataset()
        for keyword, value in block.attributes.items():
            setattr(ds, keyword, value)
        ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = block.date
        ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "090000"
        ds.StudyInstanceUID = derived_uid("demo", block.name, digest, "study")
        ds.SeriesInstanceUID = derived_uid("demo", block.name, digest, "series")
        ds.FrameOfReferenceUID = derived_uid("demo", block.name, digest, "frame of reference")
        ds.SOPInstanceUID = derived_uid("demo", block.name, digest, str(index))
        ds.InstanceNumber = index + 1
        _place(ds, block, index)
        ds.Rows, ds.Columns = plane.shape
        ds.PixelData = plane.tobytes()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        yield ds


def _place(ds: Dataset, block: SliceBlock, index: int) -> None:
    apart, down, across = block.spacing_mm
    x, y, z = block.origin_mm
    ds.ImagePositionPatient = [_decimal(v) for v in (x, y, z + index * apart)]
    ds.PixelSpacing = [_decimal(down), _decimal(across)]
    ds.SliceThickness = _decimal(apart)


def _decimal(number: float) -> DSfloat:
    return DSfloat(number, auto_format=True)
