"""Any sound series is read back exactly; broken in one way it is always refused with that reason.

Hypothesis draws the series, without chance: the same on every run.
"""

import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from imaging.frames import read_headers
from imaging.header import header_of
from imaging.read import load_volume, stored_values
from imaging.stack import Stack, Unusable, stacks_of
from tests.breaks import BREAKS, drop
from tests.builders import ct_series, mr_series, save
from tests.enhanced import enhanced

SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless)
ANGLES = st.one_of(st.sampled_from((0.0, 90.0, -90.0, 180.0, 45.0)), st.floats(-180, 180))


def examples(most):
    slow = (HealthCheck.too_slow, HealthCheck.data_too_large)
    return settings(max_examples=most, deadline=None, derandomize=True, database=None,
                    suppress_health_check=slow)  # fmt: skip


def turned(degrees):
    """A rotation about x, then y, then z."""
    whole = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        c, s = np.cos(angle), np.sin(angle)
        a, b = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[a, a], step[a, b], step[b, a], step[b, b] = c, -s, s, c
        whole = step @ whole
    return whole


@st.composite
def phantoms(draw):
    """Images of a series on a grid in any place, its affine and its voxels."""
    shape = draw(st.tuples(st.integers(4, 9), st.integers(5, 11), st.integers(5, 11)))
    steps = draw(st.tuples(st.floats(0.3, 2), st.floats(0.3, 2), st.floats(0.6, 6)))
    affine = np.eye(4)
    affine[:3, :3] = turned(draw(st.tuples(ANGLES, ANGLES, ANGLES))) * steps
    affine[:3, 3] = draw(st.tuples(*[st.floats(-300, 300)] * 3))
    if draw(st.booleans()):
        tilt = np.tan(np.radians(draw(st.sampled_from((-30, -18.5, -3, 5, 12, 25)))))
        affine[:3, 2] += affine[:3, 1] / steps[1] * steps[2] * tilt
    make = draw(st.sampled_from((ct_series, mr_series)))
    seed = draw(st.integers(0, 2**32 - 1))
    voxels = np.random.default_rng(seed).integers(0, 3000, shape).astype(float)
    images = make(shape, affine, voxels=voxels, SliceThickness=str(round(steps[2], 3)))
    return images, affine, voxels


def encoded(images, syntax):
    """Files in this transfer syntax; the number is the order of the files."""
    for number, image in enumerate(images):
        image.InstanceNumber = number + 1
        if syntax == RLELossless:
            image.compress(RLELossless, generate_instance_uid=False)
        elif syntax == ExplicitVRBigEndian:
            image.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
        image.file_meta.TransferSyntaxUID = syntax
    return images


@examples(30)
@given(phantoms(), st.randoms(use_true_random=False), st.sampled_from(SYNTAXES), st.booleans())
def test_a_sound_series_is_read_back(phantom, chance, syntax, as_one):
    images, affine, voxels = phantom
    chance.shuffle(images)
    images = [enhanced(images)] if as_one else images
    with tempfile.TemporaryDirectory() as folder:
        paths = save(encoded(images, syntax), Path(folder))
        (stack,) = stacks_of([header for path in paths for header in read_headers(path)])
        assert isinstance(stack, Stack), stack
        grid = stack.source_grid or stack.grid
        np.testing.assert_allclose(grid.affine, affine, atol=1e-4)
        assert grid.shape == voxels.shape
        offset = 1024 if images[0].Modality == "CT" else 0
        np.testing.assert_array_equal(stored_values(stack.instances), voxels + offset)
        if stack.source_grid is None:
            np.testing.assert_array_equal(load_volume(stack).voxels, voxels)


@examples(30)
@given(phantoms(), st.randoms(use_true_random=False), st.sampled_from((2, 3)))
def test_rounded_positions_are_sound(phantom, chance, digits):
    images, affine, _ = phantom
    for image in images:
        image.ImagePositionPatient = [round(float(v), digits) for v in image.ImagePositionPatient]
    chance.shuffle(images)
    (stack,) = stacks_of([header_of(image) for image in images])
    assert isinstance(stack, Stack), stack
    grid = stack.source_grid or stack.grid
    np.testing.assert_allclose(grid.affine, affine, atol=10**-digits)


@pytest.mark.parametrize("how", BREAKS, ids=lambda how: how.__name__)
def test_a_broken_series_is_always_refused_with_that_reason(how):
    @examples(12)
    @given(phantoms(), st.integers(0, 2**32 - 1))
    def broken(phantom, seed):
        images, _, _ = phantom
        how(images, np.random.default_rng(seed))
        random.Random(seed).shuffle(images)
        (part,) = stacks_of([header_of(image) for image in images])
        assert isinstance(part, Unusable), part
        assert len(part.instances) == len(images)
        assert part.reason.code in BREAKS[how], part.reason.text

    broken()


@examples(12)
@given(phantoms(), st.integers(0, 2**32 - 1))
def test_the_missing_place_is_named(phantom, seed):
    images, affine, _ = phantom
    places = {image.SOPInstanceUID: image.ImagePositionPatient for image in images}
    drop(images, np.random.default_rng(seed))
    for image in images:
        del places[image.SOPInstanceUID]
    ((_, missing),) = places.items()
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    normal /= np.linalg.norm(normal)
    (part,) = stacks_of([header_of(image) for image in images])
    assert part.reason.code == "MISSING_SLICES"
    expected = (float(np.array(missing, float) @ normal),)
    assert dict(part.reason.numbers)["positions_mm"] == pytest.approx(expected, abs=1e-3)
