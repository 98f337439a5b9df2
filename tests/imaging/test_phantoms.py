"""Random sound series read back exactly, and every way to break one refused with its reason."""

from copy import deepcopy

import numpy as np
import pytest
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from imaging.frames import read_headers
from imaging.header import header_of
from imaging.identity import derived_uid
from imaging.read import load_volume
from imaging.stack import Stack, Unusable, stacks_of
from tests.builders import ct_series, mr_series, save
from tests.enhanced import enhanced

SEEDS = range(12)
SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    RLELossless,
)


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


def shuffled(images, seed):
    return [images[i] for i in np.random.default_rng(seed + 100).permutation(len(images))]


def written(images, folder, seed):
    """Files in any order and encoding, some as one enhanced instance."""
    if seed % 3 == 0:
        images = [enhanced(images)]
    syntax = SYNTAXES[seed % len(SYNTAXES)]
    for number, image in enumerate(images):
        image.InstanceNumber = number + 1
        if syntax == RLELossless:
            image.compress(RLELossless, generate_instance_uid=False)
        elif syntax == ExplicitVRBigEndian:
            image.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
        image.file_meta.TransferSyntaxUID = syntax
    return save(images, folder)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sound_series_is_read_back(tmp_path, seed):
    images, affine, voxels = sound(seed)
    paths = written(shuffled(images, seed), tmp_path, seed)
    (stack,) = stacks_of([header for path in paths for header in read_headers(path)])
    assert isinstance(stack, Stack), stack
    np.testing.assert_allclose(stack.grid.affine, affine, atol=1e-4)
    np.testing.assert_array_equal(load_volume(stack).voxels, voxels)


def refused(images, seed):
    (part,) = stacks_of([header_of(image) for image in shuffled(images, seed)])
    assert isinstance(part, Unusable), part
    assert len(part.instances) == len(images)
    return part.reason


def inner(images, random):
    return int(random.integers(1, len(images) - 1))


def drop(images, random):
    del images[inner(images, random)]


def repeat(images, random):
    again = deepcopy(images[int(random.integers(len(images)))])
    again.SOPInstanceUID = derived_uid("again", again.SOPInstanceUID)
    images.append(again)


def place_on_another(images, random):
    one, other = random.choice(len(images), 2, replace=False)
    images[one].ImagePositionPatient = images[other].ImagePositionPatient


def move_along(images, random):
    image = images[inner(images, random)]
    orientation = np.array(image.ImageOrientationPatient, float)
    normal = np.cross(orientation[:3], orientation[3:])
    gap = np.linalg.norm(
        np.subtract(images[1].ImagePositionPatient, images[0].ImagePositionPatient)
    )
    shift = normal * gap * random.uniform(0.3, 0.4) * random.choice((-1, 1))
    image.ImagePositionPatient = list(np.array(image.ImagePositionPatient, float) + shift)


def move_beside(images, random):
    image = images[inner(images, random)]
    row = np.array(image.ImageOrientationPatient[:3], float)
    pixel = max(image.PixelSpacing)
    image.ImagePositionPatient = list(np.array(image.ImagePositionPatient, float) + row * pixel * 2)


def rotate(images, random):
    image = images[int(random.integers(len(images)))]
    o = np.array(image.ImageOrientationPatient, float)
    angle = np.radians(random.uniform(0.5, 90))
    column = o[3:] * np.cos(angle) + np.cross(o[:3], o[3:]) * np.sin(angle)
    image.ImageOrientationPatient = [*o[:3], *column]


def flip(images, random):
    image = images[int(random.integers(len(images)))]
    o = np.array(image.ImageOrientationPatient, float)
    image.ImageOrientationPatient = [*-o[:3], *o[3:]]


def other_patient(images, random):
    images[int(random.integers(len(images)))].PatientID = "SOMEONE-ELSE"


def other_frame(images, random):
    images[int(random.integers(len(images)))].FrameOfReferenceUID = "1.2.3.4"


def other_size(images, random):
    images[int(random.integers(len(images)))].Rows = 4


def other_spacing(images, random):
    image = images[int(random.integers(len(images)))]
    image.PixelSpacing = [value * 1.1 for value in image.PixelSpacing]


def other_echo(images, random):
    images[int(random.integers(len(images)))].EchoTime = "123"


BREAKS = {
    drop: {"MISSING_SLICES"},
    repeat: {"DUPLICATE_SLICES"},
    place_on_another: {"DUPLICATE_SLICES"},
    move_along: {"UNEVEN_SPACING"},
    move_beside: {"NOT_ALIGNED"},
    rotate: {"MIXED_ORIENTATION"},
    flip: {"MIXED_ORIENTATION"},
    other_patient: {"MIXED_PATIENTS"},
    other_frame: {"MIXED_FRAME_OF_REFERENCE"},
    other_size: {"MIXED_SIZE"},
    other_spacing: {"MIXED_SPACING"},
    other_echo: {"MIXED_KIND"},
}


@pytest.mark.parametrize("how", BREAKS, ids=lambda how: how.__name__)
def test_a_broken_series_is_always_refused_with_that_reason(how):
    for seed in range(8):
        images, _, _ = sound(seed)
        how(images, np.random.default_rng(seed))
        why = refused(images, seed)
        assert why.code in BREAKS[how], (seed, why.text)


def test_the_missing_place_is_named():
    for seed in range(8):
        images, _, _ = sound(seed)
        index = inner(images, np.random.default_rng(seed))
        position = np.array(images[index].ImagePositionPatient, float)
        orientation = np.array(images[index].ImageOrientationPatient, float)
        del images[index]
        place = position @ np.cross(orientation[:3], orientation[3:])
        why = refused(images, seed)
        assert dict(why.numbers)["positions_mm"] == pytest.approx((place,), abs=1e-3)


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
    assert refused(images, 0).code == code


def test_half_a_rescale_is_refused_for_mr_too():
    images, _, _ = sound(1)
    for image in images:
        image.RescaleSlope = 2
    assert refused(images, 1).code == "HALF_RESCALE"


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
