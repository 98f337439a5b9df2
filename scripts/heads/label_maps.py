"""Label maps of three heads, 2 mm, axes to the right, front and head of the patient.

Colin27 and the ICBM152 average give the soft tissue (the latter inside the former's exterior), the
head CT its own structures. The lower part of each is also given a schematic neck, because what
ends at the chin teaches nothing about necks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage as ndi

from scripts.heads.tissues import (
    SPACING_MM,
    Bools,
    Labels,
    Tissue,
    Values,
    ball,
    closed,
    depth_mm,
    largest,
    within,
)

_MNI_ORIGIN, _MNI_SHAPE = (-96.0, -132.0, -80.0), (97, 117, 90)
_CT_ORIGIN, _CT_SHAPE = (-120.0, -120.0, 0.0), (121, 121, 81)
_NECK_VOXELS = 48


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelMap:
    """A head: its labels, and the image they were drawn on if there is one.

    Attributes
    ----------
    labels
        `Tissue` values, (x, y, z).
    image
        The same shape; Hounsfield units when `is_ct`, else as acquired. None: only labels.
    weight
        How often it is drawn, relative to the others.
    """

    name: str
    labels: Labels
    image: Values | None
    is_ct: bool
    weight: float


def label_maps(
    *,
    colin: Path,
    colin_brain: Path,
    icbm: Mapping[str, Path],
    ct: tuple[NDArray[np.int16], tuple[float, float, float]],
) -> tuple[LabelMap, ...]:
    """Return the heads that training images are made from.

    Parameters
    ----------
    colin, colin_brain
        Colin27 T1, whole and stripped (Debian's mricron-data: ch2, ch2bet).
    icbm
        ICBM152 2009a probabilities by ``"grey"``, ``"white"`` and the T1 as ``"head"``.
    ct
        The head CT of Debian's invesalius-examples, (z, y, x) with y to the back and x to the
        left, in HU, and its spacing (z, y, x) in mm.
    """
    t1, stripped = _mni(colin), _mni(colin_brain, mask=True) > 0.5
    shares = {name: _mni(path, mask=name == "head") for name, path in icbm.items()}
    mine, average, exterior = _mni_maps(t1, stripped, shares)
    scan, image = _ct_map(*ct)
    whole = (
        ("colin", mine, t1, False, 0.16),
        ("average", average, None, False, 0.06),
        ("stripped", np.where(exterior, 0, average).astype(np.uint8), None, False, 0.05),
        ("ct", scan, image, True, 0.15),
        ("colin with neck", _with_neck(mine), None, False, 0.24),
        ("average with neck", _with_neck(average), None, False, 0.16),
        ("ct with neck", _with_neck(scan), None, True, 0.18),
    )
    return tuple(
        LabelMap(name=name, labels=labels, image=picture, is_ct=is_ct, weight=weight)
        for name, labels, picture, is_ct, weight in whole
    )


# The two heads by MR


def _mni(path: Path, *, mask: bool = False) -> Values:
    """Return an image in MNI space on our grid, or how much of a voxel is in its foreground."""
    image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")
    image = sitk.Cast(image > 0 if mask else image, sitk.sitkFloat32)
    ratio = SPACING_MM / image.GetSpacing()[0]
    if ratio > 1.2:
        image = sitk.SmoothingRecursiveGaussian(image, 0.35 * SPACING_MM)
    resample = sitk.ResampleImageFilter()
    resample.SetSize(_MNI_SHAPE)
    resample.SetOutputSpacing((SPACING_MM,) * 3)
    # Ours run to the right and to the front, those of LPS the other way.
    resample.SetOutputOrigin((-_MNI_ORIGIN[0], -_MNI_ORIGIN[1], _MNI_ORIGIN[2]))
    resample.SetOutputDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    return sitk.GetArrayFromImage(resample.Execute(image)).transpose(2, 1, 0).copy()


def _mni_maps(
    t1: Values, stripped: Bools, icbm: Mapping[str, Values]
) -> tuple[Labels, Labels, Bools]:
    """Return Colin27, ICBM152 in its exterior, and what lies outside ICBM152's skull."""
    skull = ndi.binary_dilation(largest(ndi.binary_fill_holes(closed(stripped, 12))), ball(2))
    other = ndi.binary_dilation(largest(closed(icbm["head"] > 0.5, 8)), ball(2))
    scale = 255.0 if icbm["grey"].max() > 2 else 1.0
    grey, white = icbm["grey"] / scale, icbm["white"] / scale
    outside = _exterior(t1, skull)
    first = _filled(skull, t1 < 66, t1 >= 102, outside=outside)
    first[largest(_ventricles(skull & (t1 < 66), skull), parts=2)] = Tissue.VENTRICLE
    second = _filled(skull | other, grey + white < 0.5, white > grey, outside=outside)
    second[_ventricles(other & (grey + white < 0.5), other)] = Tissue.VENTRICLE
    return first, second, ~other


def _filled(skull: Bools, fluid: Bools, white: Bools, *, outside: Labels) -> Labels:
    labels = np.where(skull, Tissue.GREY, outside).astype(np.uint8)
    labels[skull & white] = Tissue.WHITE
    labels[skull & fluid] = Tissue.FLUID
    return labels


def _exterior(t1: Values, skull: Bools) -> Labels:
    """Return the tissues around the skull's inside, by intensity and distance."""
    head = ndi.binary_fill_holes(largest(closed(ndi.gaussian_filter(t1, 0.5) > 16, 10)))
    distance = depth_mm(~skull)
    labels = np.zeros(t1.shape, np.uint8)
    dark = head & (t1 < 52)
    labels[head] = Tissue.MUSCLE
    labels[head & (t1 > 110)] = Tissue.FAT
    labels[dark] = Tissue.CAVITY
    bone = (dark & (distance < 11)) | (head & (distance > 0) & (distance < 3.5))
    labels[bone] = Tissue.BONE
    between = head & (distance > 0) & (distance < 9) & (t1 >= 52) & (t1 < 95)
    labels[between & ndi.binary_dilation(dark, ball(4))] = Tissue.MARROW
    skin = head & ~ndi.binary_erosion(head, ball(2.5)) & (labels != Tissue.BONE)
    labels[skin] = Tissue.SKIN
    return labels


def _ventricles(fluid: Bools, skull: Bools) -> Bools:
    """Return the lateral ventricles in MNI space: deep fluid, less third ventricle, cisterns."""
    x, y, z = (
        origin + SPACING_MM * np.arange(n).reshape([-1 if axis == k else 1 for axis in range(3)])
        for k, (origin, n) in enumerate(zip(_MNI_ORIGIN, fluid.shape, strict=True))
    )
    deep = fluid & (depth_mm(skull) > 14) & (abs(x) < 46) & (y > -62) & (y < 46)
    deep &= (z > -26) & (z < 36) & ~((z < -4) & (abs(x) < 14))
    third = (abs(x) < 5) & (z < 7.5) & (y < 8)
    cistern = (y < -22) & (z < 12) & (abs(x) < 16)
    middle = (abs(x) > 2.5) | ((y > -14) & (y < 20) & (z > 4) & (z < 24))
    found = deep & ~third & ~cistern & middle
    numbered, _ = ndi.label(found)
    sizes = np.bincount(numbered.ravel()) * SPACING_MM**3
    sizes[0] = 0
    return np.asarray((sizes > 500)[numbered])


# The head by CT


def _ct_map(
    hounsfield: NDArray[np.int16], spacing_mm: tuple[float, float, float]
) -> tuple[Labels, Values]:
    """Return the labels of the head CT and its image, both on our grid."""
    volume = hounsfield.transpose(2, 1, 0)[::-1, ::-1].astype(np.float32)
    steps = np.array(spacing_mm[::-1])
    start = -(np.array(volume.shape) - 1) * steps / 2 * (1, 1, 0)
    offset = (np.array(_CT_ORIGIN) - start) / steps
    image = ndi.affine_transform(
        volume, SPACING_MM / steps, offset, output_shape=_CT_SHAPE, order=1, cval=-1000.0
    )
    skull = _ct_skull(image)
    smooth = ndi.gaussian_filter(np.clip(image, -20, 100), 0.7)
    head = ndi.binary_fill_holes(closed(image > -300, 6))
    head = largest(ndi.binary_opening(head, ball(4)))
    labels = np.zeros(image.shape, np.uint8)
    labels[head] = Tissue.MUSCLE
    for highest, tissue in ((-20, Tissue.FAT), (-300, Tissue.CAVITY)):
        labels[head & (image < highest)] = tissue
    labels[head & (image > 150)] = Tissue.BONE
    labels[head & (image > 150) & (image < 450)] = Tissue.MARROW
    fluid, depth = skull & (smooth < 15.5), depth_mm(skull)
    labels[skull] = Tissue.GREY
    labels[skull & (smooth < 21.5) & (depth > 8)] = Tissue.WHITE
    labels[fluid] = Tissue.FLUID
    labels[_ct_ventricles(fluid & (depth > 16), fluid, skull)] = Tissue.VENTRICLE
    return labels, image


def _ct_skull(image: Values) -> Bools:
    """Return what the skull encloses: soft tissue that a ball reaches from within."""
    bone = image > 250
    brainy = (image > -15) & (image < 120)
    median = ndi.median_filter(image, 3)
    soft = (median > -15) & (median < 120) & ~ndi.binary_dilation(bone, ball(2.1))
    soft &= (image > -15) & (image < 120)
    seed = largest(ndi.binary_opening(soft, ball(8.2)))
    grown = ndi.binary_dilation(seed, ball(9), mask=brainy & ~bone)
    return largest(ndi.binary_opening(closed(grown, 8) & ~bone, ball(4)))


def _ct_ventricles(deep: Bools, fluid: Bools, skull: Bools) -> Bools:
    """Return the lateral ventricles; the skull's box stands in for MNI space."""
    low, high = _box(skull)
    x, y, z = (
        (np.arange(n).reshape([-1 if axis == k else 1 for axis in range(3)]) - low[k])
        / (high[k] - low[k])
        for k, n in enumerate(skull.shape)
    )
    x = (x - 0.5) * 144
    y, z = y * 184 - 108, z * 152 - 70
    inside = deep & (abs(x) < 44) & (y > -66) & (y < 48) & (z > -26) & (z < 38)
    inside &= ~((abs(x) < 6) & (z < 5) & (y < 10)) & ~((y < -24) & (z < 12) & (abs(x) < 16))
    found = largest(ndi.binary_opening(inside, ball(2)))
    return np.asarray(ndi.binary_dilation(found, mask=fluid))


def _box(mask: Bools) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    places = np.argwhere(mask)
    return places.min(0), places.max(0)


# Necks


def _with_neck(labels: Labels) -> Labels:
    """Return a map with its lower end carried on below, brain replaced by muscle and a spine."""
    bottom = int(np.nonzero((labels > 0).any((0, 1)))[0][0])
    labels = labels[:, :, bottom + 1 :]
    inside = within(labels)
    places = np.argwhere(inside[:, :, 0])
    if not len(places):
        places = np.argwhere(inside.any(2))
    middle = (float(places[:, 0].mean()), float(np.percentile(places[:, 1], 35)))
    chance = np.random.default_rng(5)
    below = [_neck_slice(labels, depth, middle, chance=chance) for depth in range(_NECK_VOXELS)]
    return np.concatenate([np.stack(below[::-1], axis=2), labels], axis=2)


def _neck_slice(
    labels: Labels, depth: int, middle: tuple[float, float], *, chance: np.random.Generator
) -> Labels:
    """Return the slice `depth` voxels below the map: its mirror image, narrower further down."""
    source = labels[:, :, min(depth, labels.shape[2] - 1)].copy()
    chunks = ndi.gaussian_filter(chance.normal(0, 1, source.shape), 3)
    vertebra = np.where(
        chunks > 0.12, Tissue.BONE, np.where(chunks < -0.1, Tissue.FAT, Tissue.MUSCLE)
    )
    inside = within(source)
    source[inside] = vertebra[inside] if depth % 6 < 4 else Tissue.MUSCLE
    narrow = 1 - 0.30 * min(depth / 20, 1)
    x, y = np.ogrid[: source.shape[0], : source.shape[1]]
    taken, ok = [], np.ones(source.shape, bool)
    for axis, place in enumerate((x, y)):
        wanted = (place - middle[axis]) / narrow + middle[axis]
        nearest = np.clip(np.round(wanted).astype(int), 0, source.shape[axis] - 1)
        ok &= abs(wanted - nearest) <= 0.6
        taken.append(nearest)
    result = np.where(ok, source[taken[0], taken[1]], Tissue.AIR).astype(np.uint8)
    radius = np.sqrt((x - middle[0]) ** 2 + (y - middle[1] - depth * 0.25) ** 2) * SPACING_MM
    if depth >= 2:
        result[(radius >= 9) & (radius < 15)] = Tissue.BONE if depth % 12 < 8 else Tissue.MUSCLE
    result[radius < 9.5] = Tissue.CANAL
    result[radius < 5.5] = Tissue.CORD
    return result
