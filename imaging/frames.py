"""Multi-frame instances as slices: one header for each frame (PS3.3 C.7.6.16).

Enhanced, legacy converted enhanced and other objects with functional groups then need no path of
their own: what comes after sees slices. Instances without functional groups stay whole.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydicom import Dataset

from imaging.attributes import items
from imaging.header import (
    InstanceHeader,
    acquisition_of,
    header_of,
    read_part10,
)
from imaging.image import image_of
from imaging.mosaic import is_mosaic, tiles_of
from imaging.nuclear import is_nuclear, slices_of
from imaging.slices import is_two_dimensional

# Where a frame keeps what a single-frame image keeps at the top: functional groups, outermost
# first, and the name of the attribute there if it is another one.
_TYPE = (
    "MRImageFrameTypeSequence",
    "CTImageFrameTypeSequence",
    "PETFrameTypeSequence",
    "XRay3DFrameTypeSequence",
    "XAXRFFrameCharacteristicsSequence",
)
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "ImagePositionPatient": ("PlanePositionSequence",),
    "ImageOrientationPatient": ("PlaneOrientationSequence",),
    "PixelSpacing": ("PixelMeasuresSequence",),
    "SliceThickness": ("PixelMeasuresSequence",),
    "SpacingBetweenSlices": ("PixelMeasuresSequence",),
    "RescaleSlope": ("PixelValueTransformationSequence",),
    "RescaleIntercept": ("PixelValueTransformationSequence",),
    "RescaleType": ("PixelValueTransformationSequence",),
    "WindowCenter": ("FrameVOILUTSequence",),
    "WindowWidth": ("FrameVOILUTSequence",),
    "ImageType": _TYPE,
    "ComplexImageComponent": _TYPE,
    "AcquisitionContrast": _TYPE,
    "AnatomicRegionSequence": ("FrameAnatomySequence",),
    "InversionRecovery": ("MRModifierSequence",),
    "EchoTrainLength": ("MRTimingAndRelatedParametersSequence",),
    "EchoTime": ("MREchoSequence",),
    "RepetitionTime": ("MRTimingAndRelatedParametersSequence",),
    "FlipAngle": ("MRTimingAndRelatedParametersSequence",),
    "InversionTime": ("MRModifierSequence",),
    "DiffusionBValue": ("MRDiffusionSequence",),
    "DiffusionGradientOrientation": ("MRDiffusionSequence",),
    "ASLContext": ("MRArterialSpinLabelingSequence",),
    "ConvolutionKernel": ("CTReconstructionSequence",),
    "GantryDetectorTilt": ("CTAcquisitionDetailsSequence",),
    "KVP": ("CTXRayDetailsSequence",),
    "TriggerTime": ("CardiacSynchronizationSequence",),
    "NominalPercentageOfCardiacPhase": ("CardiacSynchronizationSequence",),
    "TemporalPositionIdentifier": ("FrameContentSequence",),
    "AcquisitionNumber": ("FrameContentSequence",),
    "AcquisitionDateTime": ("FrameContentSequence",),
    "StackID": ("FrameContentSequence",),
    "DimensionIndexValues": ("FrameContentSequence",),
}  # fmt: skip
_WHOLE_GROUPS = frozenset(("RealWorldValueMappingSequence",))
_NAMES: Mapping[str, str] = {
    "ImageType": "FrameType",
    "EchoTime": "EffectiveEchoTime",
    "InversionTime": "InversionTimes",
    "TriggerTime": "NominalCardiacTriggerDelayTime",
    "TemporalPositionIdentifier": "TemporalPositionIndex",
    "AcquisitionNumber": "FrameAcquisitionNumber",
    "AcquisitionDateTime": "FrameAcquisitionDateTime",
}
_NESTED = {"DiffusionGradientOrientation": "DiffusionGradientDirectionSequence"}
# Legacy converted enhanced objects keep here what has no functional group (PS3.3 C.7.6.16.2.25).
_UNASSIGNED = (
    "UnassignedPerFrameConvertedAttributesSequence",
    "UnassignedSharedConvertedAttributesSequence",
)
_STACK_DIMENSIONS = frozenset((0x00209056, 0x00209057, 0x00200032, 0x00209111))


def read_headers(path: Path) -> tuple[InstanceHeader, ...]:
    """Return a header for each image in a Part 10 file; pixels are not read.

    Raises
    ------
    NotDicom, MalformedInstance
        See `imaging.header.read_dataset` and `imaging.header.header_of`.
    """
    part10 = read_part10(path)
    return headers_of(part10.dataset, path=path, pixels_at=part10.pixels_at)


def headers_of(
    ds: Dataset, *, path: Path | None = None, pixels_at: int | None = None
) -> tuple[InstanceHeader, ...]:
    """Return a header for each frame that has functional groups, else one for the instance.

    Raises
    ------
    MalformedInstance
        See `imaging.header.header_of`.
    """
    return frames_of(header_of(ds, path=path, pixels_at=pixels_at), ds)


def frames_of(whole: InstanceHeader, ds: Dataset) -> tuple[InstanceHeader, ...]:
    """Return the same from the header of the instance and its data set."""
    if is_mosaic(whole):
        return tiles_of(whole, ds)
    if is_nuclear(whole):
        return slices_of(whole, ds)
    per_frame = items(ds, "PerFrameFunctionalGroupsSequence")
    if not per_frame or len(per_frame) != whole.image.frames:
        return (whole,)
    shared = next(iter(items(ds, "SharedFunctionalGroupsSequence")), Dataset())
    varying = _varying_dimensions(ds)
    frames = tuple(
        _frame(whole, number, _Frame(own=own, shared=shared, instance=ds), varying=varying)
        for number, own in enumerate(per_frame)
    )
    # Runs of projections have functional groups too: without places they are one run, not frames.
    run = len(frames) > 1 and all(is_two_dimensional(frame) for frame in frames)
    return (whole,) if run else frames


def _frame(
    whole: InstanceHeader, number: int, frame: "_Frame", *, varying: tuple[int, ...]
) -> InstanceHeader:
    acquisition = acquisition_of(frame)
    indexes = acquisition.dimensions
    kept = tuple(indexes[i] for i in varying if i < len(indexes))
    return replace(
        whole,
        frame=number,
        acquisition=replace(acquisition, dimensions=kept),
        image=image_of(frame, whole.transfer_syntax_uid),
    )


def _varying_dimensions(ds: Dataset) -> tuple[int, ...]:
    """Return which dimension indexes tell apart more than stack and place in it."""
    pointers = [item.get("DimensionIndexPointer") for item in items(ds, "DimensionIndexSequence")]
    return tuple(i for i, pointer in enumerate(pointers) if pointer not in _STACK_DIMENSIONS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Frame:
    """One frame, read as if it were an instance: its own groups, shared ones, the instance."""

    own: Dataset
    shared: Dataset
    instance: Dataset

    def get(self, keyword: str, /) -> Any:
        return next(
            (value for value in self._values(keyword) if value is not None and value != ""), None
        )

    def _values(self, keyword: str) -> Iterator[Any]:
        for holder in (self.own, self.shared):
            if keyword in _WHOLE_GROUPS:
                yield holder.get(keyword)
            for group in _GROUPS.get(keyword, ()):
                for item in items(holder, group):
                    yield from _within(item, keyword)
        for holder, group in zip((self.own, self.shared), _UNASSIGNED, strict=True):
            for item in items(holder, group):
                yield item.get(keyword)
        yield self.instance.get(keyword)


def _within(item: Dataset, keyword: str) -> Iterator[Any]:
    name = _NAMES.get(keyword, keyword)
    inner = items(item, _NESTED[keyword]) if keyword in _NESTED else (item,)
    for holder in inner:
        yield holder.get(name)
