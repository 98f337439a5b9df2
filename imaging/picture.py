"""A single two-dimensional image: its size, its pixel spacing, and how far that can be trusted.

In a projection the beam widens from detector to patient, so the distance between pixels depends on
what is meant (PS3.3 10.7.1.3); a slice has its spacing in the patient.
"""

from dataclasses import dataclass
from enum import StrEnum

from imaging.attributes import Vector
from imaging.header import InstanceHeader
from imaging.image import Image

_SLICES = frozenset(("CT", "MR", "PT", "NM"))
_CALIBRATED = frozenset(("GEOMETRY", "FIDUCIAL"))
_SAME_MM = 1e-6
_LEAST_MM, _MOST_MM = 0.001, 50.0


class SpacingSource(StrEnum):
    """Where a pixel spacing comes from, best first."""

    PATIENT = "in the patient"  # a slice: Pixel Spacing is what it says
    CALIBRATED = "calibrated"  # corrected for magnification, as the sender states
    REGION = "ultrasound region"  # PS3.3 C.8.5.5
    MAGNIFICATION = "at the detector, divided by the estimated magnification"
    DETECTOR = "at the detector"  # too large for anything in the patient
    SCANNED = "of the scanned film"  # PS3.3 C.8.6.1: nothing is known about the film's scale
    UNSTATED = "not stated"  # Pixel Spacing alone in a projection
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One two-dimensional image.

    `spacing_mm` is (between rows, between columns), ``None`` when nothing usable is written.
    """

    rows: int
    columns: int
    spacing_mm: Vector | None
    source: SpacingSource


def picture_of(header: InstanceHeader) -> Picture | None:
    """Return what is known of an image in its plane; ``None`` when it has no rows or columns."""
    image = header.image
    if not image.rows or not image.columns:
        return None
    spacing, source = _spacing(header)
    return Picture(rows=image.rows, columns=image.columns, spacing_mm=spacing, source=source)


def _spacing(header: InstanceHeader) -> tuple[Vector | None, SpacingSource]:
    image = header.image
    written = _usable(image.pixel_spacing_mm)
    if header.series.modality in _SLICES and written:
        return written, SpacingSource.PATIENT
    if written and _is_calibrated(image, written):
        return written, SpacingSource.CALIBRATED
    detector = _usable(image.imager_spacing_mm)
    if detector and not image.region_spacing_mm:
        return _at_detector(detector, image.magnification)
    rest = (
        (_usable(image.region_spacing_mm), SpacingSource.REGION),
        (_usable(image.scanned_spacing_mm), SpacingSource.SCANNED),
        (written, SpacingSource.UNSTATED),
    )
    return next((found for found in rest if found[0]), (None, SpacingSource.ABSENT))


def _is_calibrated(image: Image, written: Vector) -> bool:
    """Pixel Spacing is corrected when it says so, or differs from that of the detector."""
    detector = _usable(image.imager_spacing_mm)
    differs = detector is not None and any(
        abs(a - b) > _SAME_MM for a, b in zip(written, detector, strict=True)
    )
    return image.calibration.upper() in _CALIBRATED or differs


def _at_detector(detector: Vector, magnification: float | None) -> tuple[Vector, SpacingSource]:
    if magnification is None or magnification < 1:
        return detector, SpacingSource.DETECTOR
    return tuple(mm / magnification for mm in detector), SpacingSource.MAGNIFICATION


def _usable(spacing_mm: Vector | None) -> Vector | None:
    if spacing_mm is None or not all(_LEAST_MM <= mm <= _MOST_MM for mm in spacing_mm):
        return None
    return spacing_mm
