"""From the instances of a series to stacks: sorted, checked, or refused with a reason.

A stack is sound when its slices share one orientation and frame of reference, stand square over one
another and are evenly spaced (PS3.3 C.7.6.2.1.1). Anything else would give a wrong number with a
confident face, so it is refused before anything is measured.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from imaging.geometry import Grid, Matrix
from imaging.header import InstanceHeader
from imaging.reasons import Reason

# Direction cosines are written with 6 to 16 digits; 0.001 rad moves the far corner of a 256 mm
# image by a quarter of a millimetre.
_DIRECTION_TOLERANCE = 1e-3
# Positions closer than this are the same position: real gaps start at 0.3 mm.
_SAME_PLACE_MM = 0.01
# How far a slice may lie from its place between the first and the last: twice what rounding to
# tenths of a millimetre does, but no more than a fifth of a small gap; or one hundredth of a large.
_EVEN_MM, _EVEN_LARGEST, _EVEN_FRACTION = 0.11, 0.2, 0.01
# Shear below this moves the top of a 200 mm stack by less than a voxel of 0.7 mm.
_SQUARE_DEG = 0.2
_MIN_SLICES = 3
_SPACING_RANGE_MM = (0.01, 50.0)
_MAX_MATRIX = 8192
_LISTED = 6
_HOUNSFIELD_MODALITIES = frozenset(("CT",))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stack:
    """Instances of one series in slice order, on a regular grid."""

    instances: tuple[InstanceHeader, ...]
    grid: Grid
    notes: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unusable:
    """Instances of one series that cannot be measured, and why."""

    instances: tuple[InstanceHeader, ...]
    reason: Reason


def stacks_of(headers: Sequence[InstanceHeader]) -> tuple[Stack | Unusable, ...]:
    """Return what the instances of one series amount to: every instance is in exactly one part.

    Localizers are set apart first, because they often share a series with the slices they planned.
    """
    localizers = tuple(h for h in headers if "LOCALIZER" in h.acquisition.image_type)
    slices = tuple(h for h in headers if "LOCALIZER" not in h.acquisition.image_type)
    parts: list[Stack | Unusable] = []
    if slices:
        parts.append(_stack(slices))
    if localizers:
        text = f"{len(localizers)} localizer image(s): they plan a scan and are not measured"
        parts.append(Unusable(instances=localizers, reason=Reason(code="LOCALIZER", text=text)))
    return tuple(parts)


def _stack(headers: tuple[InstanceHeader, ...]) -> Stack | Unusable:
    for check in (_not_an_image, _not_a_plane, _not_one_series, _not_one_block, _not_calibrated):
        if reason := check(headers):
            return Unusable(instances=headers, reason=reason)
    ordered, along_mm = _sorted(headers)
    for positional in (_too_few, _duplicates, _gaps, _shear):
        if reason := positional(ordered, along_mm):
            return Unusable(instances=ordered, reason=reason)
    return Stack(instances=ordered, grid=_grid(ordered), notes=_notes(ordered))


# Checks of single instances and of what all must share


def _not_an_image(headers: Sequence[InstanceHeader]) -> Reason | None:
    for header in headers:
        image = header.image
        if not image.rows or not image.columns or not image.bits_allocated:
            return Reason(code="NOT_AN_IMAGE", text="an instance has no rows, columns or pixels")
        if max(image.rows, image.columns) > _MAX_MATRIX:
            text = f"a matrix of {image.rows} x {image.columns} is larger than {_MAX_MATRIX}"
            return Reason(code="MATRIX_TOO_LARGE", text=text)
        if image.frames != 1:
            text = f"multi-frame images ({image.frames} frames) are not read"
            return Reason(code="MULTIFRAME", text=text)
        if image.samples != 1 or not image.photometric.startswith("MONOCHROME"):
            text = f"pixels are {image.photometric or 'of unknown kind'}, not grey values"
            return Reason(code="NOT_GREYSCALE", text=text)
    return None


def _not_a_plane(headers: Sequence[InstanceHeader]) -> Reason | None:
    for header in headers:
        image = header.image
        if image.position is None or image.orientation is None:
            text = "an instance has no position or orientation in the patient"
            return Reason(code="NO_GEOMETRY", text=text)
        if not _orthonormal(image.orientation):
            text = "row and column directions are not perpendicular unit vectors"
            return Reason(code="BAD_ORIENTATION", text=text)
        spacing = image.pixel_spacing_mm
        low, high = _SPACING_RANGE_MM
        if spacing is None or not all(low <= mm <= high for mm in spacing):
            found = "absent" if spacing is None else " x ".join(f"{mm:g}" for mm in spacing)
            return Reason(code="NO_SPACING", text=f"pixel spacing is {found} mm")
    return None


def _not_one_series(headers: Sequence[InstanceHeader]) -> Reason | None:
    patients = {(h.patient.patient_id, h.patient.birth_date) for h in headers}
    if len(patients) > 1:
        text = f"the series holds images of {len(patients)} patients"
        return Reason(code="MIXED_PATIENTS", text=text)
    frames = {h.image.frame_of_reference_uid for h in headers}
    if len(frames) > 1:
        text = f"the series has {len(frames)} frames of reference"
        return Reason(code="MIXED_FRAME_OF_REFERENCE", text=text)
    return None


def _not_one_block(headers: Sequence[InstanceHeader]) -> Reason | None:
    sizes = {(h.image.rows, h.image.columns) for h in headers}
    if len(sizes) > 1:
        listed = ", ".join(f"{rows} x {columns}" for rows, columns in sorted(sizes, key=str))
        return Reason(code="MIXED_SIZE", text=f"the slices have different sizes: {listed}")
    spacings = np.array([h.image.pixel_spacing_mm for h in headers])
    if np.abs(spacings - spacings[0]).max() > _SAME_PLACE_MM / 10:
        return Reason(code="MIXED_SPACING", text="the slices have different pixel spacings")
    directions = np.array([h.image.orientation for h in headers])
    apart = np.abs(directions - directions[0]).max(axis=1)
    if apart.max() > _DIRECTION_TOLERANCE:
        groups = len(np.unique(directions.round(3), axis=0))
        text = f"the series has {groups} slice orientations"
        return Reason(code="MIXED_ORIENTATION", text=text)
    return None


def _not_calibrated(headers: Sequence[InstanceHeader]) -> Reason | None:
    for header in headers:
        rescale = header.image.rescale
        if rescale is None and header.series.modality in _HOUNSFIELD_MODALITIES:
            text = "a CT image has no rescale slope and intercept: Hounsfield units are unknown"
            return Reason(code="NO_RESCALE", text=text)
        if rescale is not None and rescale[0] == 0:
            return Reason(code="BAD_RESCALE", text="rescale slope is 0")
    return None


# Checks along the stack

_Positional = Callable[[Sequence[InstanceHeader], Matrix], Reason | None]


def _too_few(headers: Sequence[InstanceHeader], _: Matrix) -> Reason | None:
    if len(headers) == 1:
        return Reason(code="SINGLE_IMAGE", text="the series is a single image, not a volume")
    if len(headers) < _MIN_SLICES:
        text = f"{len(headers)} slices do not show an even spacing; {_MIN_SLICES} are needed"
        return Reason(code="FEW_SLICES", text=text)
    return None


def _duplicates(headers: Sequence[InstanceHeader], along_mm: Matrix) -> Reason | None:
    repeated = along_mm[1:][np.diff(along_mm) < _SAME_PLACE_MM]
    if not repeated.size:
        return None
    text = f"{repeated.size} of {len(headers)} slices repeat a position, at {_listed(repeated)} mm"
    return Reason(code="DUPLICATE_SLICES", text=text)


def _gaps(headers: Sequence[InstanceHeader], along_mm: Matrix) -> Reason | None:
    gaps = np.diff(along_mm)
    usual = float(np.median(gaps))
    allowed = max(min(_EVEN_MM, _EVEN_LARGEST * usual), _EVEN_FRACTION * usual)
    if np.abs(along_mm - np.linspace(along_mm[0], along_mm[-1], len(along_mm))).max() <= allowed:
        return None
    steps = (gaps / usual).round()
    if steps.min() >= 1 and (np.abs(gaps - steps * usual) <= 2 * allowed * steps).all():
        missing = [
            along_mm[i] + k * usual
            for i in np.flatnonzero(steps > 1)
            for k in range(1, int(steps[i]))
        ]
        text = (
            f"{len(missing)} slice(s) are missing between {len(headers)}, spaced {usual:.3f} mm, "
            f"at {_listed(np.array(missing))} mm along the normal"
        )
        return Reason(code="MISSING_SLICES", text=text)
    text = f"slice gaps run from {gaps.min():.3f} to {gaps.max():.3f} mm (usually {usual:.3f} mm)"
    return Reason(code="UNEVEN_SPACING", text=text)


def _shear(headers: Sequence[InstanceHeader], along_mm: Matrix) -> Reason | None:
    positions = _positions(headers)
    normal = _normal(headers[0])
    axis = (positions[-1] - positions[0]) / (along_mm[-1] - along_mm[0])
    angle = float(np.degrees(np.arctan(np.linalg.norm(axis - normal))))
    if angle > _SQUARE_DEG:
        text = f"slices are shifted against one another by {angle:.1f} degrees (gantry tilt)"
        return Reason(code="TILTED", text=text)
    expected = positions[0] + np.outer(along_mm - along_mm[0], axis)
    astray = float(np.linalg.norm(positions - expected, axis=1).max())
    allowed = max(_EVEN_MM, 0.2 * min(headers[0].image.pixel_spacing_mm or (0.0,)))
    if astray > allowed:
        text = f"a slice lies {astray:.2f} mm beside the line of the others"
        return Reason(code="NOT_ALIGNED", text=text)
    return None


# Geometry


def _orthonormal(orientation: Sequence[float]) -> bool:
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    astray = np.abs([row @ row - 1, column @ column - 1, row @ column])
    return bool(astray.max() <= 2 * _DIRECTION_TOLERANCE)


def _normal(header: InstanceHeader) -> Matrix:
    orientation = np.array(header.image.orientation)
    normal: Matrix = np.cross(orientation[:3], orientation[3:])
    return normal


def _positions(headers: Sequence[InstanceHeader]) -> Matrix:
    return np.array([h.image.position for h in headers], dtype=np.float64)


def _sorted(headers: Sequence[InstanceHeader]) -> tuple[tuple[InstanceHeader, ...], Matrix]:
    along = _positions(headers) @ _normal(headers[0])
    order = np.argsort(along, kind="stable")
    return tuple(headers[i] for i in order), along[order]


def _grid(ordered: Sequence[InstanceHeader]) -> Grid:
    first = ordered[0].image
    between_rows, between_columns = first.pixel_spacing_mm or (1.0, 1.0)
    positions = _positions(ordered)
    orientation = np.array(first.orientation)
    affine = np.eye(4)
    affine[:3, 0] = orientation[:3] * between_columns
    affine[:3, 1] = orientation[3:] * between_rows
    affine[:3, 2] = (positions[-1] - positions[0]) / (len(ordered) - 1)
    affine[:3, 3] = positions[0]
    return Grid(
        shape=(len(ordered), first.rows or 0, first.columns or 0),
        affine=affine,
        frame_of_reference_uid=first.frame_of_reference_uid,
    )


def _notes(ordered: Sequence[InstanceHeader]) -> tuple[Reason, ...]:
    if any(h.image.lossy for h in ordered):
        text = "the images were compressed with loss before they arrived"
        return (Reason(code="LOSSY_INPUT", text=text),)
    return ()


def _listed(values: Matrix) -> str:
    shown = ", ".join(f"{value:.2f}" for value in values[:_LISTED])
    return shown + (" and more" if len(values) > _LISTED else "")
