"""The same scan as one enhanced multi-frame instance, made from its single-frame images."""

from collections.abc import Sequence
from copy import deepcopy

from pydicom import Dataset
from pydicom.uid import EnhancedCTImageStorage, EnhancedMRImageStorage

from imaging.identity import derived_uid

_OF_FRAMES = (
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "RescaleSlope",
    "RescaleIntercept",
    "EchoTime",
    "DiffusionBValue",
    "DiffusionGradientOrientation",
    "TemporalPositionIdentifier",
    "TriggerTime",
    "ConvolutionKernel",
    "WindowCenter",
    "WindowWidth",
    "InstanceNumber",
)
_GROUPS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "EchoTime": "MREchoSequence",
    "DiffusionBValue": "MRDiffusionSequence",
    "ConvolutionKernel": "CTReconstructionSequence",
    "TriggerTime": "CardiacSynchronizationSequence",
}
_NAMES = {"EchoTime": "EffectiveEchoTime", "TriggerTime": "NominalCardiacTriggerDelayTime"}


def enhanced(images: Sequence[Dataset], *, legacy: bool = False) -> Dataset:
    """Return one multi-frame instance with the frames of `images` in that order.

    Groups that all frames share are in the shared sequence. With `legacy`, attributes without a
    group of their own stay in the unassigned ones, as legacy conversion leaves them.
    """
    whole = deepcopy(images[0])
    for keyword in _OF_FRAMES:
        whole.pop(keyword, None)
    is_ct = whole.Modality == "CT"
    whole.SOPClassUID = EnhancedCTImageStorage if is_ct else EnhancedMRImageStorage
    whole.SOPInstanceUID = derived_uid("enhanced", images[0].SOPInstanceUID)
    whole.file_meta.MediaStorageSOPClassUID = whole.SOPClassUID
    whole.file_meta.MediaStorageSOPInstanceUID = whole.SOPInstanceUID
    whole.InstanceNumber, whole.NumberOfFrames = 1, len(images)
    frames = [_frame(image, number, legacy=legacy) for number, image in enumerate(images)]
    shared = Dataset()
    for group in set(_GROUPS.values()):
        values = [frame.get(group) for frame in frames]
        if values[0] is not None and all(value == values[0] for value in values):
            setattr(shared, group, values[0])
            for frame in frames:
                delattr(frame, group)
    whole.SharedFunctionalGroupsSequence = [shared]
    whole.PerFrameFunctionalGroupsSequence = frames
    whole.PixelData = b"".join(image.PixelData for image in images)
    return whole


def _frame(image: Dataset, number: int, *, legacy: bool) -> Dataset:
    frame = Dataset()
    content = Dataset()
    content.StackID, content.InStackPositionNumber = "1", number + 1
    if "TemporalPositionIdentifier" in image:
        content.TemporalPositionIndex = image.TemporalPositionIdentifier
    frame.FrameContentSequence = [content]
    left = Dataset()
    for keyword, group in _GROUPS.items():
        if keyword not in image:
            continue
        if legacy and group in {"MREchoSequence", "CTReconstructionSequence"}:
            left[keyword] = image[keyword]
            continue
        if group not in frame:
            setattr(frame, group, [Dataset()])
        setattr(frame[group].value[0], _NAMES.get(keyword, keyword), image[keyword].value)
    if "DiffusionGradientOrientation" in image:
        direction = Dataset()
        direction.DiffusionGradientOrientation = image.DiffusionGradientOrientation
        frame.MRDiffusionSequence[0].DiffusionGradientDirectionSequence = [direction]
    if legacy:
        frame.UnassignedPerFrameConvertedAttributesSequence = [left]
    return frame
