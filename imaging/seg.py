"""The segments of a report as a DICOM Segmentation of type BINARY (PS3.3 A.51)."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from highdicom.seg import Segmentation as SegmentationObject
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import RawDataStorage
from pydicom.valuerep import DSfloat

from imaging.codes import Code
from imaging.findings import Finding, Report, Segment
from imaging.header import InstanceHeader
from imaging.identity import derived_uid
from imaging.objects import (
    MANUFACTURER,
    RESEARCH_ONLY,
    Kind,
    coded,
    finished,
    line,
    refer,
    reference_to,
    referenced,
    stamp_of,
    stand_in,
)

_OF_EACH_FRAME = (
    "SegmentIdentificationSequence",
    "PlanePositionSequence",
    "DerivationImageSequence",
)
_NEURAL_NETWORK = Code("123110", "DCM", "Artificial Intelligence")  # CID 7162


def segmentation(report: Report, source: Dataset, *, wetread_version: str) -> Dataset | None:
    """Return the segments on the source images, or ``None`` when no voxel is segmented.

    `source` is the header of a source instance; patient and study come from it. Slices without a
    segmented voxel are left out; each other frame names the source image it lies on.
    """
    if not any(segment.region.part.any() for segment in report.segments):
        return None
    stamp = stamp_of(report, Kind.SEGMENTATION, wetread_version)
    segments = sorted(report.segments, key=lambda segment: segment.number)
    made = SegmentationObject(
        source_images=[_plane(header, report) for header in report.instances],
        pixel_array=_pixels(segments),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(segment, report) for segment in segments],
        series_instance_uid=stamp.series_uid,
        series_number=stamp.kind.value,
        sop_instance_uid=stamp.instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=line(wetread_version),
        device_serial_number=report.algorithm.device_uid,
        content_label="SEGMENTATION",
        content_description=RESEARCH_ONLY,
        omit_empty_frames=True,
    )
    _tell_each_frame(made)
    _name_frames(made, report)
    return finished(made, source, stamp, description=f"Wetread {report.algorithm.name} SEG")


def _tell_each_frame(made: Dataset) -> None:
    """Let each frame name its segment, place and source, also where all frames share them.

    highdicom moves what all frames have in common to the shared groups; both are allowed
    (PS3.3 C.7.6.16), but readers that look at the frame alone then miss it.
    """
    shared = made.SharedFunctionalGroupsSequence[0]
    for keyword in _OF_EACH_FRAME:
        if keyword in shared:
            for frame in made.PerFrameFunctionalGroupsSequence:
                frame[keyword] = deepcopy(shared[keyword])
            del shared[keyword]


def _name_frames(made: Dataset, report: Report) -> None:
    """Replace the names that frames and tiles had, see `_plane`, by what they are."""
    frames = {_frame_uid(header): header for header in report.instances if header.part is not None}
    if not frames:
        return
    for group in made.PerFrameFunctionalGroupsSequence:
        for derivation in group.DerivationImageSequence:
            for source in derivation.SourceImageSequence:
                refer(source, frames[source.ReferencedSOPInstanceUID])
    for series in made.ReferencedSeriesSequence:
        refs = dict.fromkeys(map(reference_to, report.instances))
        series.ReferencedInstanceSequence = [referenced(ref) for ref in refs]


def _frame_uid(header: InstanceHeader) -> str:
    return derived_uid("frame", header.image_key)


def _plane(header: InstanceHeader, report: Report) -> Dataset:
    """Return the geometry of one source slice, as the source wrote it.

    highdicom takes one multi-frame source and all its frames, or single-frame ones; slices of a
    stack may be some of the frames of several. So each frame poses as an image of its own.
    """
    image = header.image
    ref = reference_to(header)
    if header.part is not None:
        ref = replace(ref, sop_class_uid=RawDataStorage, instance_uid=_frame_uid(header))
    ds = stand_in(ref)
    ds.Modality = header.series.modality
    ds.FrameOfReferenceUID = image.frame_of_reference_uid or derived_uid(
        "frame of reference", header.series.series_uid
    )
    ds.PositionReferenceIndicator = ""
    ds.Rows, ds.Columns = image.rows, image.columns
    ds.ImagePositionPatient = _decimals(image.position)
    ds.ImageOrientationPatient = _decimals(image.orientation)
    ds.PixelSpacing = _decimals(image.pixel_spacing_mm)
    between_slices = report.grid.spacing_mm[0]
    ds.SliceThickness = _decimals((image.slice_thickness_mm or between_slices,))[0]
    ds.SpacingBetweenSlices = _decimals((between_slices,))[0]
    if image.loss:
        ds.LossyImageCompression = "01"
    return ds


def _pixels(segments: Sequence[Segment]) -> NDArray[np.uint8 | np.uint16]:
    """Return numbers of segments for each voxel or, where segments overlap, a plane for each."""
    numbers = np.zeros(segments[0].region.shape, dtype=np.uint16)
    for segment in segments:
        there = numbers[segment.region.where]
        if there[segment.region.part].any():
            return np.stack([each.mask for each in segments], axis=-1).astype(np.uint8)
        there[segment.region.part] = segment.number
    return numbers


def _description(segment: Segment, report: Report) -> SegmentDescription:
    finding = _finding_of(segment, report)
    return SegmentDescription(
        segment_number=segment.number,
        segment_label=line(segment.label),
        segmented_property_category=coded(segment.category),
        segmented_property_type=coded(segment.type),
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=line(report.algorithm.name),
            family=coded(_NEURAL_NETWORK),
            version=line(report.algorithm.version),
            source=line(report.algorithm.manufacturer),
            parameters={
                "package": report.algorithm.digest,
                "settings": report.algorithm.settings_digest,
            },
        ),
        tracking_uid=finding.tracking_uid if finding else None,
        tracking_id=finding.tracking_id if finding else None,
        display_color=CIELabColor(*segment.cielab),
    )


def _finding_of(segment: Segment, report: Report) -> Finding | None:
    return next((f for f in report.findings if f.segment_number == segment.number), None)


def _decimals(numbers: tuple[float, ...] | None) -> list[DSfloat]:
    return [DSfloat(number, auto_format=True) for number in numbers or ()]
