import shutil
from collections.abc import Callable
from functools import cache
from io import BytesIO

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from imaging.conformance import problems
from imaging.objects import encoded
from imaging.seg import segmentation
from imaging.sr import measurement_report
from tests.builders import mr_series, report_on


@cache
def built() -> tuple[bytes, bytes]:
    mask = np.zeros((5, 12, 10), dtype=bool)
    mask[1:4, 3:8, 2:6] = True
    images = mr_series(mask.shape)
    report = report_on(images, [mask])
    seg = segmentation(report, images[0], wetread_version="0.1.0")
    assert seg is not None
    sr = measurement_report(report, images[0], segmentation=seg, wetread_version="0.1.0")
    return encoded(seg), encoded(sr)


def spoilt(data: bytes, spoil: Callable[[Dataset], object]) -> tuple[str, ...]:
    ds = dcmread(BytesIO(data))
    spoil(ds)
    return problems(encoded(ds))


def test_sound_objects_have_no_problems() -> None:
    assert [problems(data) for data in built()] == [(), ()]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda ds: ds.pop("ContentDate"), "ContentDate is missing"),
        (lambda ds: ds.pop("PatientID"), "PatientID is missing"),
        (lambda ds: setattr(ds, "SeriesInstanceUID", "1.02.3"), "SeriesInstanceUID is not a valid"),
        (
            lambda ds: setattr(ds, "FrameOfReferenceUID", "1.2.x"),
            "FrameOfReferenceUID is not a UID",
        ),
        (lambda ds: setattr(ds, "NumberOfFrames", 2), "2 frames but 3 functional groups"),
        (lambda ds: setattr(ds, "PixelData", ds.PixelData[:-2]), "pixel data have"),
        (lambda ds: setattr(ds.SegmentSequence[0], "SegmentNumber", 2), "segment numbers are"),
        (
            lambda ds: ds.PerFrameFunctionalGroupsSequence[1].pop("DerivationImageSequence"),
            "frame 2 names no source image",
        ),
        (
            lambda ds: ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence.pop(1),
            "lies on an image that is not in the referenced series",
        ),
    ],
)
def test_segmentation_faults_are_found(spoil: Callable[[Dataset], object], said: str) -> None:
    assert any(said in problem for problem in spoilt(built()[0], spoil))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda ds: setattr(ds, "VerificationFlag", "VERIFIED"), "must be unverified"),
        (
            lambda ds: setattr(ds.ContentTemplateSequence[0], "TemplateIdentifier", "2000"),
            "not a TID 1500",
        ),
        (
            lambda ds: (
                ds.CurrentRequestedProcedureEvidenceSequence[0]
                .ReferencedSeriesSequence[0]
                .ReferencedSOPSequence.pop(1)
            ),
            "not listed as evidence",
        ),
    ],
)
def test_document_faults_are_found(spoil: Callable[[Dataset], object], said: str) -> None:
    assert any(said in problem for problem in spoilt(built()[1], spoil))


def test_other_objects_are_not_ours() -> None:
    (image, *_) = mr_series((3, 8, 8))
    assert "not one of our result objects" in problems(encoded(image))[0]


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dicom3tools' dciodvfy is not installed")
def test_dciodvfy_is_asked() -> None:
    found = spoilt(built()[0], lambda ds: setattr(ds, "SegmentationType", "NONSENSE"))
    assert any(problem.startswith("Error") for problem in found)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StudyInstanceUID", "1.2.03.4"),
        ("PatientSex", "unknown"),
        ("StudyDate", "31.1.24"),
        ("PatientAge", "54"),
    ],
)
def test_faults_of_the_sender_do_not_withhold_a_result(keyword: str, value: str) -> None:
    vr = "UI" if keyword.endswith("UID") else "LT"  # LT: a value that its own VR forbids
    assert spoilt(built()[0], lambda ds: ds.add_new(keyword, vr, value)) == ()
