"""Numbers from a mask and the voxels under it, with their units."""

from dataclasses import replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from imaging.boxed import boxed
from imaging.findings import Mask
from imaging.geometry import Grid, axis_codes
from imaging.volume import Voxels

_TISSUE_FRACTION = 0.35
_OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "S": "I", "I": "S"}


def volume_ml(mask: Mask, grid: Grid) -> float:
    """Return the volume of `mask` in millilitres: whole voxels counted."""
    return int(np.count_nonzero(mask)) * grid.voxel_ml


def largest_component(mask: Mask) -> Mask:
    """Return the largest part of `mask` whose voxels touch by a face; empty if `mask` is."""
    labels, sizes = _parts(mask)
    largest: Mask = mask & (labels == sizes.argmax())
    return largest


def large_components(mask: Mask, grid: Grid, *, least_ml: float) -> Mask:
    """Return the parts of `mask` that have at least a volume."""
    labels, sizes = _parts(mask)
    large: Mask = (sizes * grid.voxel_ml >= least_ml)[labels] & mask
    return large


def _parts(mask: Mask) -> tuple[NDArray[np.uint32], NDArray[np.intp]]:
    """Return a number for each part, 0 outside, and how many voxels each has."""
    parts = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)))
    labels = sitk.GetArrayFromImage(parts)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels, sizes


def trunk(mask: Mask, grid: Grid, *, bridge_mm: float) -> Mask:
    """Return the largest part of `mask`; what hangs on it by less than `bridge_mm` is left out.

    Empty if no part is that thick.
    """
    box = boxed(mask)
    part = np.pad(box.part, 1)
    core = largest_component(-_outside_mm(part, grid) > bridge_mm / 2) if part.any() else part
    near = (
        _outside_mm(core, grid) <= bridge_mm / 2 + 2 * max(grid.spacing_mm) if core.any() else core
    )
    kept = part & near
    return replace(box, part=kept[1:-1, 1:-1, 1:-1]).whole()


def _outside_mm(mask: Mask, grid: Grid) -> Voxels:
    """Return the distance of each voxel to the surface of `mask`, negative inside."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(tuple(reversed(grid.spacing_mm)))
    distance = sitk.SignedMaurerDistanceMap(
        image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
    )
    return np.asarray(sitk.GetArrayFromImage(distance), dtype=np.float32)


def filled(mask: Mask) -> Mask:
    """Return `mask` with its closed holes filled: background that no path leads out of."""
    image = sitk.BinaryFillhole(sitk.GetImageFromArray(mask.astype(np.uint8)))
    solid: Mask = sitk.GetArrayFromImage(image).astype(np.bool_)
    return solid


def key_slice(mask: Mask) -> int:
    """Return the index of the slice with the largest area; the lowest of equals."""
    return int(mask.sum(axis=(1, 2)).argmax())


def rim_ratio(voxels: Voxels, mask: Mask, grid: Grid, *, width_mm: float) -> float:
    """Return the median of the `width_mm` around `mask` over the median inside; 0 if undefined."""
    radius = [max(round(width_mm / mm), 1) for mm in reversed(grid.spacing_mm)]
    inner = sitk.GetImageFromArray(mask.astype(np.uint8))
    outer = sitk.GetArrayFromImage(sitk.BinaryDilate(inner, radius, sitk.sitkBall))
    rim = outer.astype(np.bool_) & ~mask
    inside = float(np.median(voxels[mask])) if mask.any() else 0.0
    if inside <= 0 or not rim.any():
        return 0.0
    return float(np.median(voxels[rim])) / inside


def cut_area_cm2(voxels: Voxels, mask: Mask, grid: Grid, *, face: str) -> float:
    """Return the area of tissue on one face of the block, within the shadow of `mask` on it.

    `face` is the letter (L, R, P, A, S or I) of the patient's side. Where air lies between the head
    and the face it is zero, however close the mask comes; where the image ends within the head, it
    is the section of the head. Tissue is brighter than 0.35 of the median under the mask: above
    bone and air, below fat, muscle and brain in T1-weighted MR.
    """
    if not mask.any():
        return 0.0
    axis, last = _face(grid, face)
    tissue = voxels.take(-1 if last else 0, axis) > _TISSUE_FRACTION * np.median(voxels[mask])
    return int(np.count_nonzero(tissue & mask.any(axis=axis))) * _pixel_cm2(grid, axis)


def section_cm2(mask: Mask, grid: Grid, *, face: str, depth_mm: float) -> float:
    """Return the area of `mask` in the layer of voxels `depth_mm` inside one face of the block."""
    axis, last = _face(grid, face)
    deep = min(round(depth_mm / grid.spacing_mm[axis]), mask.shape[axis] - 1)
    layer = mask.take(-1 - deep if last else deep, axis)
    return int(np.count_nonzero(layer)) * _pixel_cm2(grid, axis)


def _face(grid: Grid, letter: str) -> tuple[int, bool]:
    """Array axis across the face, and whether the face is at its end."""
    codes = axis_codes(grid)
    if letter in codes:
        return codes.index(letter), True
    return codes.index(_OPPOSITE[letter]), False


def _pixel_cm2(grid: Grid, axis: int) -> float:
    a, b = (mm for i, mm in enumerate(grid.spacing_mm) if i != axis)
    return a * b / 100.0
