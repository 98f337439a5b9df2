"""Voxels from one grid to another. The only home of SimpleITK's resampling.

Both grids lie in the same patient frame, so nothing but the two grids decides where a value comes
from; bringing a result back is the same call with the grids exchanged.
"""

from dataclasses import replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from imaging.findings import Mask
from imaging.geometry import Grid
from imaging.volume import Voxels

Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]


def resample(
    voxels: Voxels, source: Grid, target: Grid, *, outside: float = 0.0, smooth: bool = False
) -> Voxels:
    """Return `voxels` of `source` at the voxel centres of `target`, linearly interpolated.

    `outside` fills what lies more than half a voxel outside `source`. With `smooth`, a Gaussian of
    sigma (factor - 1) / 2 source voxels comes first along each axis that gets coarser, so that fine
    detail does not turn into false structure (the rule of skimage.transform.resize).
    """
    image = _image(voxels, source)
    if smooth:
        image = _smoothed(image, source, target)
    return _values(_looked_up(image, target, by=sitk.sitkLinear, outside=outside))


def resample_extended(voxels: Voxels, source: Grid, target: Grid) -> Voxels:
    """Return `voxels` at the voxel centres of `target`; the outermost values go on outside.

    A coarser grid reaches beyond the last voxel of `source`: nothing there must look like tissue of
    the value 0 (Spacing of MONAI with padding mode border).
    """
    image = _image(voxels, source)
    return _values(_looked_up(image, target, by=sitk.sitkLinear, outside=None))


def resample_mask(mask: Mask, source: Grid, target: Grid) -> Mask:
    """Return `mask` of `source` at the voxel centres of `target`: nearest voxel, False outside."""
    image = _image(mask.astype(np.uint8), source)
    found = _looked_up(image, target, by=sitk.sitkNearestNeighbor, outside=0.0)
    mask_there: Mask = sitk.GetArrayFromImage(found).astype(np.bool_)
    return mask_there


def respaced(grid: Grid, spacing_mm: Spacing) -> Grid:
    """Return a grid with voxel (0, 0, 0) of `grid` and `spacing_mm` along (slice, row, column).

    It holds as many voxels as reach nearest to the far voxel centres.
    """
    factors = [new / old for new, old in zip(spacing_mm, grid.spacing_mm, strict=True)]
    s, r, c = (round((n - 1) / f) + 1 for n, f in zip(grid.shape, factors, strict=True))
    affine = grid.affine.copy()
    affine[:3, :3] *= np.array(factors[::-1])
    return replace(grid, shape=(s, r, c), affine=affine)


def stretched(grid: Grid, shape: Shape) -> Grid:
    """Return the grid of `shape` voxels that fills the same block, outer voxel edges included."""
    factors = np.array([old / new for old, new in zip(grid.shape, shape, strict=True)])[::-1]
    affine = grid.affine.copy()
    affine[:3, 3] += grid.affine[:3, :3] @ ((factors - 1.0) / 2.0)
    affine[:3, :3] *= factors
    return replace(grid, shape=shape, affine=affine)


def windowed(grid: Grid, start: Shape, shape: Shape) -> Grid:
    """Return the part of `grid` of `shape` from voxel `start`; it may reach outside `grid`."""
    affine = grid.affine.copy()
    affine[:3, 3] = grid.points_mm(np.array([start], dtype=np.float64))[0]
    return replace(grid, shape=shape, affine=affine)


def _image(array: NDArray[np.generic], grid: Grid) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetOrigin(grid.origin_mm)
    image.SetSpacing(grid.spacing_mm[::-1])
    image.SetDirection(grid.direction.ravel().tolist())
    return image


def _smoothed(image: sitk.Image, source: Grid, target: Grid) -> sitk.Image:
    # Steps of `target` as seen along (column, row, slice) of `source`, in source voxels.
    steps = np.abs(np.linalg.solve(source.affine[:3, :3], target.affine[:3, :3])).max(axis=1)
    sigma = np.maximum(steps - 1.0, 0.0) / 2.0
    if not sigma.any():
        return image
    variance = (sigma**2).tolist()
    return sitk.DiscreteGaussian(image, variance=variance, maximumError=0.01, useImageSpacing=False)


def _looked_up(image: sitk.Image, target: Grid, *, by: int, outside: float | None) -> sitk.Image:
    return sitk.Resample(
        image,
        target.shape[::-1],
        sitk.Transform(),
        by,
        target.origin_mm,
        target.spacing_mm[::-1],
        target.direction.ravel().tolist(),
        outside or 0.0,
        image.GetPixelID(),
        outside is None,
    )


def _values(image: sitk.Image) -> Voxels:
    values: Voxels = sitk.GetArrayFromImage(image).astype(np.float32, copy=False)
    return values
