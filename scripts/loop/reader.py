"""A simulated reader: accepts an outline that is right, else draws the right one and stores it."""

from collections.abc import Sequence
from copy import deepcopy
from io import BytesIO

import numpy as np
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID

from imaging.findings import Mask
from imaging.identity import derived_uid
from imaging.seg_masks import SegmentMasks
from scripts.loop.phantoms import Phantom

_RIGHT = 0.97  # Dice from which an outline is accepted


def is_right(ours: Dataset, phantom: Phantom) -> bool:
    """Whether the first segment of a Segmentation is the nodule."""
    drawn = _drawn(ours, phantom)
    return bool(2 * (drawn & phantom.truth).sum() >= _RIGHT * (drawn.sum() + phantom.truth.sum()))


def corrected(ours: Dataset, phantom: Phantom) -> bytes:
    """Return a Segmentation as an editor saves it: ours with the nodule's outline instead."""
    images = _images(phantom)
    ds, uid = deepcopy(ours), UID(derived_uid(ours.SOPInstanceUID, "corrected"))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid
    ds.SeriesInstanceUID = derived_uid(uid, "series")
    ds.Manufacturer, ds.ContentCreatorName = "Phantom editor", "Reader^Simulated"
    ds.ContentDate, ds.ContentTime = "20240118", "100000"
    shown = [i for i in range(len(images)) if phantom.truth[i].any()]
    pattern = ours.PerFrameFunctionalGroupsSequence[0]
    ds.PerFrameFunctionalGroupsSequence = Items(
        _frame(pattern, images[i], place) for place, i in enumerate(shown, start=1)
    )
    ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence = Items(
        _reference(images[i]) for i in shown
    )
    ds.NumberOfFrames = len(shown)
    bits = np.packbits(phantom.truth[shown].ravel(), bitorder="little").tobytes()
    ds.PixelData = bits + b"\0" * (len(bits) % 2)
    stream = BytesIO()
    dcmwrite(stream, ds, enforce_file_format=True)
    return stream.getvalue()


def _images(phantom: Phantom) -> Sequence[Dataset]:
    return [dcmread(path, stop_before_pixels=True) for path in phantom.study.paths]


def _drawn(ours: Dataset, phantom: Phantom) -> Mask:
    masks, drawn = SegmentMasks(dataset=ours), np.zeros(phantom.truth.shape, np.bool_)
    for index, image in enumerate(_images(phantom)):
        for _, mask in masks.on(str(image.SOPInstanceUID)):
            drawn[index] |= mask
    return drawn


def _frame(pattern: Dataset, image: Dataset, place: int) -> Dataset:
    item = deepcopy(pattern)
    item.PlanePositionSequence[0].ImagePositionPatient = image.ImagePositionPatient
    content = item.FrameContentSequence[0]
    content.DimensionIndexValues = [1, *[place] * (len(content.DimensionIndexValues) - 1)]
    source = item.DerivationImageSequence[0].SourceImageSequence[0]
    source.ReferencedSOPInstanceUID = image.SOPInstanceUID
    return item


def _reference(image: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = image.SOPClassUID
    item.ReferencedSOPInstanceUID = image.SOPInstanceUID
    return item
