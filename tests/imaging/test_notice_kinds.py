"""A notice for every kind of study that is not analysed: each file is clean for dciodvfy."""

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import Dataset

from imaging.frames import headers_of
from imaging.notice import Notice, not_performed
from imaging.objects import encoded, reference_to
from imaging.reasons import Reason, reason
from imaging.stack import Unusable, stacks_of
from tests.builders import ct_series, mr_series
from tests.enhanced import enhanced

STORAGE = "1.2.840.10008.5.1.4.1.1."
SHAPE = (6, 8, 8)


def ct(**header: object) -> list[Dataset]:
    return ct_series(SHAPE, **header)


def mr(**header: object) -> list[Dataset]:
    return mr_series(SHAPE, **header)


def one(modality: str, sop_class: str, **header: object) -> list[Dataset]:
    images = mr_series((1, 8, 8), ImagePositionPatient=None, ImageOrientationPatient=None, **header)
    for image in images:
        image.Modality, image.SOPClassUID = modality, STORAGE + sop_class
    return images


def spoiled(images: list[Dataset], index: int, **header: object) -> list[Dataset]:
    for keyword, value in header.items():
        setattr(images[index], keyword, value)
    return images


def run_of_frames(modality: str, sop_class: str) -> list[Dataset]:
    whole = enhanced(mr())
    del whole.PerFrameFunctionalGroupsSequence
    whole.Modality, whole.SOPClassUID = modality, STORAGE + sop_class
    return [whole]


def procedure() -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "X", "99LOCAL", "Head"
    return item


# Every way in which a study is not analysed, in every kind of study.
STUDIES = {
    "CT, a slice missing": lambda: ct()[:2] + ct()[3:],
    "CT, uneven": lambda: spoiled(ct(), 2, ImagePositionPatient=[-40, -50, -28.4]),
    "CT, repeated": lambda: spoiled(ct(), 2, ImagePositionPatient=ct()[3].ImagePositionPatient),
    "CT, no rescale": lambda: ct(RescaleSlope=None, RescaleIntercept=None),
    "CT, slope 0": lambda: ct(RescaleSlope=0),
    "CT, localizer": lambda: ct(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    "CT, two patients": lambda: spoiled(ct(), 2, PatientID="B"),
    "CT, other size": lambda: spoiled(ct(), 2, Rows=4),
    "CT, kernels mixed": lambda: spoiled(ct(), 2, ConvolutionKernel="B60f"),
    "CT, two images": lambda: ct()[:2],
    "MR, one image": lambda: mr()[:1],
    "MR, other orientation": lambda: spoiled(mr(), 2, ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
    "MR, no position": lambda: mr(ImagePositionPatient=None),
    "MR, no spacing": lambda: mr(PixelSpacing=None),
    "MR, bad directions": lambda: mr(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]),
    "MR, half a rescale": lambda: mr(RescaleSlope=2),
    "MR, frames of reference": lambda: spoiled(mr(), 2, FrameOfReferenceUID="1.2.3"),
    "MR, mosaic": lambda: mr(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]),
    "enhanced MR, a frame missing": lambda: [enhanced(mr()[:2] + mr()[3:])],
    "enhanced CT, cut": lambda: spoiled(
        [enhanced(ct())], 0, ConcatenationUID="1.2.3", InConcatenationNumber=1,
        InConcatenationTotalNumber=2),
    "CR": lambda: one("CR", "1"),
    "DX": lambda: one("DX", "1.1", PatientID=""),
    "MG": lambda: one("MG", "1.2", PatientName="王^小东=王^小东", StudyDescription="乳腺"),
    "US": lambda: one("US", "6.1", StudyDate=None, StudyTime=None),
    "US, cine": lambda: run_of_frames("US", "3.1"),
    "XA, cine": lambda: run_of_frames("XA", "12.1"),
    "tomosynthesis": lambda: run_of_frames("MG", "13.1.3"),
    "ultrasound volume": lambda: run_of_frames("US", "6.2"),
    "nuclear frames": lambda: run_of_frames("NM", "20"),
    "PET, uneven": lambda: [
        image for n, image in enumerate(mr(Modality="PT", SOPClassUID=STORAGE + "128")) if n != 2],
    "secondary capture": lambda: one("OT", "7", PatientBirthDate=None, PatientSex=None),
    "colour": lambda: mr(PhotometricInterpretation="RGB", SamplesPerPixel=3),
    "report": lambda: one("SR", "88.33"),
    "no names at all": lambda: one(
        "CR", "1", PatientName=None, PatientID=None, StudyID=None, AccessionNumber=None,
        ReferringPhysicianName=None),
    "an animal": lambda: one(
        "DX", "1.1", PatientSpeciesDescription="Canis lupus familiaris",
        ResponsiblePerson="Owner^Otto", ResponsiblePersonRole="OWNER"),
    "senseless extras": lambda: one(
        "CR", "1", PatientAge="45", PatientIdentityRemoved="YES", OtherPatientIDsSequence=[],
        PatientWeight="", ProcedureCodeSequence=[]),
    "extras": lambda: one(
        "CR", "1", PatientAge="045Y", PatientWeight="70.5", TypeOfPatientID="TEXT",
        TimezoneOffsetFromUTC="+0800", ProcedureCodeSequence=[procedure()],
        PatientIdentityRemoved="YES", DeidentificationMethod="by hand"),
}  # fmt: skip
CODES = {
    "MISSING_SLICES", "UNEVEN_SPACING", "DUPLICATE_SLICES", "NO_RESCALE", "BAD_RESCALE",
    "LOCALIZER", "MIXED_PATIENTS", "MIXED_SIZE", "MIXED_KIND", "FEW_SLICES", "SINGLE_IMAGE",
    "MIXED_ORIENTATION", "NO_GEOMETRY", "NO_SPACING", "BAD_ORIENTATION", "HALF_RESCALE",
    "MIXED_FRAME_OF_REFERENCE", "MOSAIC", "INCOMPLETE_CONCATENATION", "IMAGE_2D", "CINE",
    "TOMOSYNTHESIS", "ULTRASOUND_VOLUME", "NUCLEAR_FRAMES", "SECONDARY_CAPTURE", "NOT_GREYSCALE",
    "FOREIGN_OBJECT",
}  # fmt: skip


def refusals(images: list[Dataset]) -> list[Reason]:
    parts = stacks_of([header for image in images for header in headers_of(image)])
    assert all(isinstance(part, Unusable) for part in parts), parts
    return [part.reason for part in parts if isinstance(part, Unusable)]


def written(kind: str, folder: Path) -> Path:
    images = STUDIES[kind]()
    notice = Notice(
        reasons=(*refusals(images), reason("NO_MODEL_INSTALLED")),
        instances=tuple(reference_to(headers_of(image)[0]) for image in images),
        algorithm=None,
        result_key=kind,
        created=datetime(2024, 2, 1, 9, 30, tzinfo=UTC),
        language="both",
    )
    data = encoded(not_performed(notice, images[0], wetread_version="0.1.0"))
    path = folder / f"{kind}.dcm"
    path.write_bytes(data)
    return path


def test_every_way_of_not_being_analysed_is_among_them() -> None:
    assert {why.code for make in STUDIES.values() for why in refusals(make())} == CODES


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dicom3tools' dciodvfy is not installed")
@pytest.mark.parametrize("kind", STUDIES)
def test_each_notice_is_clean_for_dciodvfy(tmp_path: Path, kind: str) -> None:
    path = written(kind, tmp_path)
    run = subprocess.run(["dciodvfy", str(path)], capture_output=True, check=False)
    complaints = [line for line in run.stderr.decode().splitlines() if line.startswith("Error")]
    assert (run.returncode, complaints) == (0, [])
