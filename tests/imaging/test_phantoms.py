"""Lies in single headers of a sound series: each refuses it with its reason."""

import numpy as np
import pytest

from imaging.header import header_of
from imaging.stack import Stack, Unusable, stacks_of
from tests.builders import ct_series, mr_series


def sound(seed):
    """A series in any orientation, spacing and order of files: images, affine, voxels."""
    random = np.random.default_rng(seed)
    shape = tuple(int(n) for n in random.integers((4, 5, 5), (9, 12, 12)))
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))  # slices follow the normal, row x column
    affine = np.eye(4)
    affine[:3, :3] = turn * random.uniform((0.3, 0.3, 0.6), (2.0, 2.0, 6.0))
    affine[:3, 3] = random.uniform(-300, 300, 3)
    make = (ct_series, mr_series)[seed % 2]
    voxels = random.integers(0, 3000, shape).astype(float)
    return make(shape, affine, voxels=voxels), affine, voxels


def refused(images):
    (part,) = stacks_of([header_of(image) for image in images])
    assert isinstance(part, Unusable), part
    assert len(part.instances) == len(images)
    return part.reason


@pytest.mark.parametrize(
    ("code", "keyword", "value"),
    [
        ("BAD_RESCALE", "RescaleSlope", 0),
        ("BAD_RESCALE", "RescaleSlope", -1),
        ("NO_RESCALE", "RescaleSlope", "NaN"),
        ("NO_SPACING", "PixelSpacing", [1e-9, 1e-9]),
        ("NO_SPACING", "PixelSpacing", [1e9, 1e9]),
        ("NO_SPACING", "PixelSpacing", [-1, 1]),
        ("BAD_ORIENTATION", "ImageOrientationPatient", [0] * 6),
        ("BAD_ORIENTATION", "ImageOrientationPatient", [2, 0, 0, 0, 2, 0]),
        ("NO_GEOMETRY", "ImageOrientationPatient", ["NaN"] * 6),
        ("NO_GEOMETRY", "ImagePositionPatient", [1, 2]),
        ("MOSAIC", "ImageType", ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]),
        ("MOSAIC", "ImageType", ["ORIGINAL", "PRIMARY", "M", "VFRAME"]),
        ("FOREIGN_OBJECT", "SOPClassUID", "1.2.840.10008.5.1.4.1.1.66.4"),
    ],
)
def test_one_lie_in_one_header_refuses_the_series(code, keyword, value):
    images, _, _ = sound(0)
    setattr(images[2], keyword, value)
    assert refused(images).code == code


def test_half_a_rescale_is_refused_for_mr_too():
    images, _, _ = sound(1)
    for image in images:
        image.RescaleSlope = 2
    assert refused(images).code == "HALF_RESCALE"


def test_empty_attributes_contradict_nothing():
    images, _, _ = sound(0)
    images[1].PatientBirthDate = ""
    images[2].InstanceNumber = images[3].InstanceNumber = 7
    (stack,) = stacks_of([header_of(image) for image in images])
    assert isinstance(stack, Stack)


def test_the_slice_spacing_of_the_header_is_compared_with_the_positions():
    images, _, _ = sound(0)
    for sign, factor in ((1, 1.0), (-1, 1.0), (1, 2.0)):
        for image in images:
            image.SpacingBetweenSlices = float(image.SliceThickness) * factor * sign
        (stack,) = stacks_of([header_of(image) for image in images])
        assert isinstance(stack, Stack)
        assert [n.code for n in stack.notes] == (["SPACING_CONTRADICTED"] if factor > 1 else [])


def test_overlapping_slices_are_noted():
    images, _, _ = sound(0)
    for image in images:
        image.SliceThickness = float(image.SliceThickness) * 1.5
    (stack,) = stacks_of([header_of(image) for image in images])
    assert [note.code for note in stack.notes] == ["OVERLAPPING_SLICES"]
