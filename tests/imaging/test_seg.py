from dataclasses import replace
from datetime import datetime, timedelta, timezone
from io import BytesIO
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from imaging.conformance import problems
from imaging.findings import Mask, Report
from imaging.objects import encoded
from imaging.seg import segmentation
from tests.builders import ct_series, mr_series, placed, report_on

SHAPE = (9, 20, 16)


def blobs() -> list[Mask]:
    """Two overlapping masks without any symmetry, with empty slices at both ends."""
    first, second = np.zeros(SHAPE, dtype=bool), np.zeros(SHAPE, dtype=bool)
    first[2:6, 4:12, 3:9] = True
    first[3, 0, 0] = first[4, 19, 2] = True
    second[4:7, 8:15, 5:11] = True
    return [first, second]


def made(report: Report, source: Dataset) -> bytes:
    ds = segmentation(report, source, wetread_version="0.1.0")
    assert ds is not None
    return encoded(ds)


@pytest.mark.parametrize(
    ("plane", "turn_deg", "step"),
    [("axial", 0, 1), ("axial", 0, -1), ("sagittal", 17.5, 1), ("coronal", -8, -1)],
)
def test_voxels_come_back_where_they_were(
    plane: str, turn_deg: float, step: int, tmp_path: Path
) -> None:
    images = mr_series(SHAPE, placed(plane, (1.4, 1.1, 0.9), turn_deg=turn_deg))
    report = report_on(images[::step], blobs())
    path = tmp_path / "seg.dcm"
    path.write_bytes(made(report, images[0]))

    seg = hd.seg.segread(path)
    by_reference = seg.get_pixels_by_source_instance(
        [header.instance_uid for header in report.instances], assert_missing_frames_are_empty=True
    )
    volume = seg.get_volume(combine_segments=False).match_geometry(
        hd.Volume.from_components(
            np.zeros(SHAPE),
            spacing=report.grid.spacing_mm,
            position=report.grid.origin_mm,
            direction=report.grid.direction[:, ::-1].ravel().tolist(),
            coordinate_system="PATIENT",
        )
    )
    for channel, mask in enumerate(blobs()):
        assert (by_reference[..., channel] == mask).all()
        assert (volume.array[..., channel] == mask).all()


def test_conforms_and_is_repeatable() -> None:
    images = ct_series(SHAPE)
    report = report_on(images, blobs())
    first = made(report, images[0])
    assert problems(first) == ()
    assert first == made(report, images[0])


def test_segments_that_do_not_overlap_are_the_same_object_with_less_memory() -> None:
    images = ct_series(SHAPE)
    first, second = blobs()
    apart = report_on(images, [first, second & ~first, np.zeros(SHAPE, dtype=bool)])
    for report in (apart, replace(apart, segments=apart.segments[:1])):
        seg = segmentation(report, images[0], wetread_version="0.1.0")
        assert seg is not None
        for frame, plane in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
            number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            image = frame.DerivationImageSequence[0].SourceImageSequence[0]
            at = [h.instance_uid for h in report.instances].index(image.ReferencedSOPInstanceUID)
            (segment,) = [each for each in report.segments if each.number == number]
            assert (plane == segment.mask[at]).all()
            assert plane.any()


def test_segment_says_what_it_is() -> None:
    images = mr_series(SHAPE)
    report = report_on(images, blobs())
    ds = dcmread(BytesIO(made(report, images[0])))
    for segment, finding in zip(ds.SegmentSequence, report.findings, strict=True):
        assert segment.TrackingUID == finding.tracking_uid
        assert segment.TrackingID == finding.tracking_id
        assert len(segment.RecommendedDisplayCIELabValue) == 3
        (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
        assert report.algorithm.digest in algorithm.AlgorithmParameters
    assert ds.SegmentationType == "BINARY"
    assert ds.SeriesDescription == "Wetread brain-extraction SEG"
    assert ds.NumberOfFrames == 4 + 3  # empty slices are left out
    (equipment,) = ds.ContributingEquipmentSequence
    assert equipment.DeviceUID == report.algorithm.device_uid


def test_identity_is_copied_and_everything_else_is_ours() -> None:
    images = mr_series(
        SHAPE, PatientName="王^小东=", SpecificCharacterSet="GB18030", PatientSex="unknown"
    )
    ds = dcmread(BytesIO(made(report_on(images, blobs()), images[0])))
    source = images[0]
    for keyword in ("PatientName", "PatientID", "PatientSex", "StudyInstanceUID", "StudyID",
                    "AccessionNumber", "ReferringPhysicianName", "SpecificCharacterSet",
                    "StudyDate", "StudyDescription"):  # fmt: skip
        assert ds[keyword].value == source[keyword].value, keyword
    assert ds.Manufacturer == "Wetread"
    assert ds.SeriesInstanceUID != source.SeriesInstanceUID
    assert ds.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert (ds.ContentDate, ds.ContentTime) == ("20240201", "093015.250000")


def test_times_are_in_the_zone_of_the_study() -> None:
    images = mr_series(SHAPE, TimezoneOffsetFromUTC="-0330")
    created = datetime(2024, 2, 1, 1, 0, tzinfo=timezone(timedelta(hours=1)))
    ds = dcmread(BytesIO(made(report_on(images, blobs(), created=created), images[0])))
    assert (ds.ContentDate, ds.ContentTime) == ("20240131", "203000.000000")
    assert ds.TimezoneOffsetFromUTC == "-0330"


def test_other_content_has_other_uids() -> None:
    images = mr_series(SHAPE)
    report, other = (report_on(images, blobs(), result_key=key) for key in ("a", "b"))
    first, second = (dcmread(BytesIO(made(r, images[0]))) for r in (report, other))
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert first[keyword].value != second[keyword].value


def test_segment_without_voxels_is_described_but_has_no_frame() -> None:
    images = mr_series(SHAPE)
    data = made(report_on(images, [*blobs(), np.zeros(SHAPE, dtype=bool)]), images[0])
    assert problems(data) == ()
    assert len(dcmread(BytesIO(data)).SegmentSequence) == 3


def test_single_frame_names_its_segment_place_and_source() -> None:
    images = mr_series(SHAPE)
    mask = np.zeros(SHAPE, dtype=bool)
    mask[5, 3:6, 3:6] = True
    data = made(report_on(images, [mask]), images[0])
    assert problems(data) == ()
    (frame,) = dcmread(BytesIO(data)).PerFrameFunctionalGroupsSequence
    (source,) = frame.DerivationImageSequence[0].SourceImageSequence
    assert source.ReferencedSOPInstanceUID == images[5].SOPInstanceUID
    assert frame.PlanePositionSequence[0].ImagePositionPatient == images[5].ImagePositionPatient
    assert frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 1


def test_nothing_segmented_gives_no_object() -> None:
    images = mr_series(SHAPE)
    report = report_on(images, [np.zeros(SHAPE, dtype=bool)])
    assert segmentation(report, images[0], wetread_version="0.1.0") is None
