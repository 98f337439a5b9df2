"""The image of a header: its plane in the patient, and what its pixels are and mean."""

import math
from dataclasses import dataclass

from imaging.attributes import Attributes, Vector, integer, items, number, text, vector
from imaging.loss import Loss, loss_of
from imaging.modality_lut import ModalityLut, modality_lut_of
from imaging.real_world import RealWorldMap, real_world_maps, unit_of

_CENTIMETRES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """Image Plane and Image Pixel modules (PS3.3 C.7.6.2, C.7.6.3). Positions are LPS mm.

    Spacings are (between rows, between columns), as in the standard. `rescale` is (slope,
    intercept), ``None`` when both are absent and not a number where one is absent or not readable.
    `unit` is the UCUM unit of the values after it, "" where the header leaves it open; `mapped` are
    the stored values for which it holds, where these are not all. `step_from` names the attribute
    that the position was reckoned with, where none is written.
    """

    rows: int | None
    columns: int | None
    frames: int
    samples: int
    photometric: str
    bits_allocated: int | None
    bits_stored: int | None
    high_bit: int | None
    signed: bool
    planar: bool
    rescale: Vector | None
    modality_lut: ModalityLut | None
    padding: float | None
    padding_limit: float | None
    position: Vector | None
    orientation: Vector | None
    pixel_spacing_mm: Vector | None
    slice_thickness_mm: float | None
    slice_spacing_mm: float | None
    frame_of_reference_uid: str
    window: Vector | None
    loss: Loss | None
    imager_spacing_mm: Vector | None
    scanned_spacing_mm: Vector | None
    region_spacing_mm: Vector | None
    calibration: str
    magnification: float | None
    unit: str
    real_world: tuple[RealWorldMap, ...]
    mapped: Vector | None = None
    step_from: str = ""


def image_of(ds: Attributes, transfer_syntax_uid: str) -> Image:
    """Return the image plane and pixels of an instance or of one frame."""
    center, width = vector(ds, "WindowCenter"), vector(ds, "WindowWidth")
    return Image(
        rows=integer(ds, "Rows"),
        columns=integer(ds, "Columns"),
        frames=integer(ds, "NumberOfFrames") or 1,
        samples=integer(ds, "SamplesPerPixel") or 1,
        photometric=text(ds, "PhotometricInterpretation").upper(),
        bits_allocated=integer(ds, "BitsAllocated"),
        bits_stored=integer(ds, "BitsStored"),
        high_bit=integer(ds, "HighBit"),
        signed=integer(ds, "PixelRepresentation") == 1,
        planar=integer(ds, "PlanarConfiguration") == 1,
        rescale=_rescale(ds),
        modality_lut=modality_lut_of(ds),
        padding=_padding(ds, "PixelPaddingValue"),
        padding_limit=_padding(ds, "PixelPaddingRangeLimit"),
        position=vector(ds, "ImagePositionPatient", 3),
        orientation=vector(ds, "ImageOrientationPatient", 6),
        pixel_spacing_mm=vector(ds, "PixelSpacing", 2),
        slice_thickness_mm=number(ds, "SliceThickness"),
        slice_spacing_mm=number(ds, "SpacingBetweenSlices"),
        frame_of_reference_uid=text(ds, "FrameOfReferenceUID"),
        window=(center[0], width[0]) if center and width else None,
        loss=loss_of(ds, transfer_syntax_uid),
        imager_spacing_mm=vector(ds, "ImagerPixelSpacing", 2),
        scanned_spacing_mm=vector(ds, "NominalScannedPixelSpacing", 2),
        region_spacing_mm=_region_spacing(ds),
        calibration=text(ds, "PixelSpacingCalibrationType"),
        magnification=number(ds, "EstimatedRadiographicMagnificationFactor"),
        unit=unit_of(ds),
        real_world=real_world_maps(ds),
    )


def _rescale(ds: Attributes) -> Vector | None:
    """Half a transform and one that is not a number must not pass for none at all."""
    keywords = ("RescaleSlope", "RescaleIntercept")
    if not any(text(ds, keyword) for keyword in keywords):
        return None
    found = (number(ds, keyword) for keyword in keywords)
    return tuple(math.nan if value is None else value for value in found)


def _region_spacing(ds: Attributes) -> Vector | None:
    """Return the spacing of an ultrasound image with one region in cm (PS3.3 C.8.5.5)."""
    regions = items(ds, "SequenceOfUltrasoundRegions")
    if len(regions) != 1:
        return None
    if any(integer(regions[0], f"PhysicalUnits{axis}Direction") != _CENTIMETRES for axis in "XY"):
        return None
    down, across = (number(regions[0], f"PhysicalDelta{axis}") for axis in "YX")
    return None if down is None or across is None else (abs(down) * 10, abs(across) * 10)


def _padding(ds: Attributes, keyword: str) -> float | None:
    """Return what is no pixel: for integers, for floating point or for double floating point."""
    whole = integer(ds, keyword)
    if whole is not None:
        return whole
    return next(
        (v for kind in ("Float", "DoubleFloat") if (v := number(ds, kind + keyword)) is not None),
        None,
    )
