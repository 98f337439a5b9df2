"""Whether one image may be a slice of a volume, by itself: what it is, and what its header says."""

import math
from collections.abc import Sequence

import numpy as np

from imaging.geometry import Matrix
from imaging.header import InstanceHeader
from imaging.nuclear import is_nuclear, is_nuclear_picture
from imaging.reasons import Reason, reason
from imaging.tolerances import Tolerances

_STORAGE = "1.2.840.10008.5.1.4.1.1."
# What shares a study with images but is none (PS3.4 B.5), by SOP class and by modality.
_FOREIGN = {
    "66": "segmentation or registration",
    "481": "radiotherapy object",
    "88": "structured report",
    "11": "presentation state",
    "9": "waveform",
    "104": "document",
    "30": "parametric map",
    "67": "real world value mapping",
    "68": "surface scan",
}
_FOREIGN_MODALITIES = frozenset(
    ("SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "REG", "SR", "PR", "KO", "DOC", "ECG", "RWV")
)
_TOMOSYNTHESIS = frozenset((_STORAGE + "13.1.3", _STORAGE + "13.1.4", _STORAGE + "13.1.5"))
_ULTRASOUND_VOLUME = _STORAGE + "6.2"
_ULTRASOUND = frozenset(_STORAGE + tail for tail in ("6.1", "6", "3.1", "3"))
_TWO_DIMENSIONAL = {
    "CR": "computed radiograph",
    "DX": "digital radiograph",
    "MG": "mammogram",
    "XA": "angiogram",
    "RF": "fluoroscopic image",
    "IO": "intra-oral radiograph",
    "PX": "panoramic radiograph",
    "RG": "radiograph",
    "US": "ultrasound image",
    "IVUS": "ultrasound image",
    "ES": "endoscopic image",
    "XC": "photograph",
    "GM": "microscopic image",
    "SM": "microscopic image",
    "OP": "ophthalmic photograph",
}
_MOSAIC_WORDS = {"MOSAIC": "Siemens", "VFRAME": "United Imaging"}
_HOUNSFIELD = frozenset(("CT",))


def is_secondary_capture(header: InstanceHeader) -> bool:
    """Whether the image is a capture of something else, in one frame or several."""
    capture = _STORAGE + "7"
    return header.sop_class_uid == capture or header.sop_class_uid.startswith(capture + ".")


def is_foreign(header: InstanceHeader) -> bool:
    """Whether the object is a result, a plan or a document, not an acquired image."""
    return _kind(header) in _FOREIGN or header.series.modality in _FOREIGN_MODALITIES


def is_two_dimensional(header: InstanceHeader) -> bool:
    """Whether the modality makes projections or pictures, and the image is no placed frame."""
    placed = header.image.position is not None and header.image.orientation is not None
    return header.series.modality in _TWO_DIMENSIONAL and not (placed and header.frame is not None)


def why_no_slice(header: InstanceHeader, tolerances: Tolerances) -> Reason | None:
    """Return why `header` describes no slice that can be measured; ``None`` when it does."""
    checks = (_foreign, _nuclear, _two_dimensional, _layout, _plane, _values)
    return next((why for check in checks if (why := check(header, tolerances))), None)


def _foreign(header: InstanceHeader, _: Tolerances) -> Reason | None:
    """Objects other than images, and arrangements of many slices in one image."""
    if is_foreign(header):
        return reason("FOREIGN_OBJECT", found=_FOREIGN.get(_kind(header), header.series.modality))
    for word, vendor in _MOSAIC_WORDS.items():
        if word in header.acquisition.image_type and header.tile is None:
            return reason("MOSAIC", vendor=vendor)
    return None


def _kind(header: InstanceHeader) -> str:
    return header.sop_class_uid.removeprefix(_STORAGE).split(".")[0]


def _nuclear(header: InstanceHeader, _: Tolerances) -> Reason | None:
    """Nuclear medicine that is no reconstructed slice: pictures, projections, repetitions."""
    if not is_nuclear_picture(header):
        return None
    if header.image.frames == 1:
        return reason("IMAGE_2D", found="nuclear medicine image")
    found = (*header.acquisition.image_type[2:3], "unknown")[0]
    return reason("NUCLEAR_FRAMES", frames=header.image.frames, found=found)


def _two_dimensional(header: InstanceHeader, _: Tolerances) -> Reason | None:
    """Projections, ultrasound and photographs, and multi-frame images without slice positions."""
    image, modality = header.image, header.series.modality
    placed = image.position is not None and image.orientation is not None
    if header.frame is None and image.frames > 1:
        return _without_places(header)
    if is_two_dimensional(header):
        return reason("IMAGE_2D", found=_TWO_DIMENSIONAL[modality])
    if is_secondary_capture(header) and not placed:
        return reason("SECONDARY_CAPTURE", count=1)
    return None


def _without_places(header: InstanceHeader) -> Reason:
    frames = header.image.frames
    if is_secondary_capture(header):
        return reason("SECONDARY_CAPTURE", count=frames)
    if header.sop_class_uid in _TOMOSYNTHESIS:
        return reason("TOMOSYNTHESIS", frames=frames)
    if header.sop_class_uid == _ULTRASOUND_VOLUME:
        return reason("ULTRASOUND_VOLUME", frames=frames)
    if header.sop_class_uid in _ULTRASOUND or header.series.modality in _TWO_DIMENSIONAL:
        return reason("CINE", frames=frames)
    return reason("MULTIFRAME", frames=frames)


def _layout(header: InstanceHeader, tolerances: Tolerances) -> Reason | None:
    image = header.image
    if not image.rows or not image.columns or not image.bits_allocated:
        return reason("NOT_AN_IMAGE")
    most = tolerances.most_pixels
    if max(image.rows, image.columns) > most:
        return reason("MATRIX_TOO_LARGE", rows=image.rows, columns=image.columns, most=most)
    if image.samples != 1 or not image.photometric.startswith("MONOCHROME"):
        return reason("NOT_GREYSCALE", found=image.photometric or "unknown")
    return None


def _plane(header: InstanceHeader, tolerances: Tolerances) -> Reason | None:
    image = header.image
    if lacking := _lacking(header):
        return reason("NO_GEOMETRY", lacking=lacking)
    if not _orthonormal(image.orientation or (), tolerances):
        return reason("BAD_ORIENTATION")
    spacing = image.pixel_spacing_mm
    low, high = tolerances.least_spacing_mm, tolerances.most_spacing_mm
    if spacing is None or not all(low <= mm <= high for mm in spacing):
        found = "absent" if spacing is None else " x ".join(f"{mm:g}" for mm in spacing)
        return reason("NO_SPACING", found=found)
    return None


def _lacking(header: InstanceHeader) -> str:
    """Name what places a slice and is not there; in nuclear medicine one distance places all."""
    needed = {
        "Image Position (Patient)": header.image.position,
        "Image Orientation (Patient)": header.image.orientation,
        "Spacing Between Slices": header.image.slice_spacing_mm or not is_nuclear(header),
    }
    return ", ".join(name for name, value in needed.items() if not value)


def _values(header: InstanceHeader, _: Tolerances) -> Reason | None:
    rescale, hounsfield = header.image.rescale, header.series.modality in _HOUNSFIELD
    if header.image.modality_lut is not None:
        return None  # it takes the place of slope and intercept (PS3.3 C.11.1)
    if rescale is None:
        return reason("NO_RESCALE") if hounsfield else None
    slope, intercept = rescale
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        missing = reason("NO_RESCALE") if hounsfield else None
        return missing or reason("HALF_RESCALE", slope=slope, intercept=intercept)
    if slope == 0 or (hounsfield and slope < 0):
        return reason("BAD_RESCALE", slope=slope)
    return None


def _orthonormal(orientation: Sequence[float], tolerances: Tolerances) -> bool:
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    astray = np.abs([row @ row - 1, column @ column - 1, row @ column])
    return bool(astray.max() <= 2 * tolerances.direction)


def normal_of(header: InstanceHeader) -> Matrix:
    """Return the unit normal of a slice, row x column, LPS."""
    orientation = np.array(header.image.orientation)
    normal: Matrix = np.cross(orientation[:3], orientation[3:])
    return normal / (np.linalg.norm(normal) or 1.0)


def positions_of(headers: Sequence[InstanceHeader]) -> Matrix:
    """Return the LPS positions of the first pixels in mm, (n, 3)."""
    return np.array([header.image.position for header in headers], dtype=np.float64)
