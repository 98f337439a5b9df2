import json
import random
import tarfile
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from imaging.header import header_of, read_header
from imaging.read import load_volume
from imaging.stack import Stack, Unusable, stacks_of
from tests.builders import ct_series, mr_series, placed, save

SHAPE = (6, 8, 10)


def parts(images):
    return stacks_of([header_of(image) for image in images])


def refusal(images) -> str:
    (part,) = parts(images)
    assert isinstance(part, Unusable)
    assert len(part.instances) == len(images)
    return part.reason.code


def moved(image: Dataset, *offset: float) -> Dataset:
    image.ImagePositionPatient = [
        a + b for a, b in zip(image.ImagePositionPatient, offset, strict=True)
    ]
    return image


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
@pytest.mark.parametrize("turn_deg", [0.0, 17.0])
def test_slices_in_any_order_give_the_grid_they_were_made_on(plane, turn_deg):
    affine = placed(plane, (2.5, 0.7, 0.9), turn_deg=turn_deg)
    images = mr_series(SHAPE, affine)
    random.Random(1).shuffle(images)
    (stack,) = parts(images)
    assert isinstance(stack, Stack)
    assert stack.grid.shape == SHAPE
    np.testing.assert_allclose(stack.grid.affine, affine, atol=1e-4)
    assert stack.grid.spacing_mm == pytest.approx((2.5, 0.7, 0.9), abs=1e-5)


def test_directions_written_with_few_digits_are_unit_vectors():
    affine = placed("axial", (2.0, 0.5, 0.5), turn_deg=10.0)
    images = mr_series(SHAPE, affine)
    for image in images:
        image.ImageOrientationPatient = [round(float(v), 3) for v in image.ImageOrientationPatient]
    (stack,) = parts(images)
    np.testing.assert_allclose(np.linalg.norm(stack.grid.affine[:3, :2], axis=0), 0.5, atol=1e-12)


def test_missing_slices_are_named_by_their_positions():
    images = mr_series(SHAPE, placed("axial", (2.0, 1.0, 1.0), origin_mm=(0.0, 0.0, 100.0)))
    del images[2:4]
    (part,) = parts(images)
    assert isinstance(part, Unusable)
    assert part.reason.code == "MISSING_SLICES"
    numbers = dict(part.reason.numbers)
    assert (numbers["missing"], numbers["count"]) == (2, 4)
    assert numbers["positions_mm"] == (104.0, 106.0)
    assert "104.00, 106.00" in part.reason.text


def test_uneven_spacing_is_refused():
    images = mr_series(SHAPE)
    moved(images[3], 0, 0, 0.3)
    assert refusal(images) == "UNEVEN_SPACING"


def test_rounded_positions_are_even():
    images = mr_series(SHAPE, placed("axial", (3.0, 1.0, 1.0)))
    for number, image in enumerate(images):
        moved(image, 0, 0, 0.05 * (-1) ** number)
    (stack,) = parts(images)
    assert isinstance(stack, Stack)


def test_a_repeated_position_is_refused():
    images = mr_series(SHAPE)
    images[3].ImagePositionPatient = images[2].ImagePositionPatient
    assert refusal(images) == "DUPLICATE_SLICES"


def test_a_slice_beside_the_others_is_refused():
    images = mr_series(SHAPE)
    moved(images[3], 0.9, 0, 0)
    assert refusal(images) == "NOT_ALIGNED"


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("NOT_AN_IMAGE", {"Rows": None}),
        ("NOT_GREYSCALE", {"PhotometricInterpretation": "RGB"}),
        ("MULTIFRAME", {"NumberOfFrames": 4}),
        ("NO_GEOMETRY", {"ImagePositionPatient": None}),
        ("NO_GEOMETRY", {"ImageOrientationPatient": None}),
        ("BAD_ORIENTATION", {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}),
        ("BAD_ORIENTATION", {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}),
        ("NO_SPACING", {"PixelSpacing": None}),
        ("NO_SPACING", {"PixelSpacing": [0, 0]}),
        ("NO_SPACING", {"PixelSpacing": [1e-9, 1e-9]}),
        ("MATRIX_TOO_LARGE", {"Rows": 65535}),
        ("NO_RESCALE", {"RescaleSlope": None}),
        ("BAD_RESCALE", {"RescaleSlope": 0}),
    ],
)
def test_what_cannot_be_measured_is_refused(code, changes):
    assert refusal(ct_series(SHAPE, **changes)) == code


@pytest.mark.parametrize(
    ("code", "keyword", "value"),
    [
        ("MIXED_PATIENTS", "PatientID", "someone else"),
        ("MIXED_FRAME_OF_REFERENCE", "FrameOfReferenceUID", "1.2.3.4"),
        ("MIXED_SIZE", "Rows", 16),
        ("MIXED_SPACING", "PixelSpacing", [2.0, 2.0]),
        ("MIXED_ORIENTATION", "ImageOrientationPatient", [0, 1, 0, 0, 0, -1]),
    ],
)
def test_a_series_of_two_minds_is_refused(code, keyword, value):
    images = mr_series(SHAPE)
    setattr(images[2], keyword, value)
    assert refusal(images) == code


def test_localizers_are_set_apart_from_the_slices():
    images = ct_series(SHAPE)
    images[0].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    stack, localizer = parts(images)
    assert isinstance(stack, Stack)
    assert stack.grid.shape[0] == SHAPE[0] - 1
    assert isinstance(localizer, Unusable)
    assert localizer.reason.code == "LOCALIZER"


def test_one_and_two_images_are_no_volume():
    images = mr_series(SHAPE)
    assert refusal(images[:1]) == "SINGLE_IMAGE"
    assert refusal(images[:2]) == "FEW_SLICES"


def test_lossy_input_is_noted():
    (stack,) = parts(mr_series(SHAPE, LossyImageCompression="01"))
    assert isinstance(stack, Stack)
    assert [note.code for note in stack.notes] == ["LOSSY_INPUT"]


def test_values_come_back_in_place(tmp_path: Path):
    values = np.random.default_rng(3).integers(-1000, 1500, SHAPE).astype(float)
    images = ct_series(SHAPE, placed("sagittal", (3.0, 1.0, 1.0)), voxels=values)
    random.Random(2).shuffle(images)
    (stack,) = stacks_of([read_header(path) for path in save(images, tmp_path)])
    assert isinstance(stack, Stack)
    volume = load_volume(stack)
    assert volume.voxels.dtype == np.float32
    np.testing.assert_array_equal(volume.voxels, values)


@pytest.mark.parametrize("name", ["mr_t1_philips_mprage", "mr_t1_siemens_sag_hfs"])
def test_real_series_have_the_true_geometry_and_values(shared_data: Path, tmp_path: Path, name):
    truth = json.loads((shared_data / name / "truth.json").read_text())
    with tarfile.open(shared_data / name / "series.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    (stack,) = stacks_of([read_header(path) for path in files])
    assert isinstance(stack, Stack)
    expected = np.array(truth["affine_lps_ijk_col_row_slice"])
    np.testing.assert_allclose(stack.grid.affine, expected, rtol=0, atol=1e-3)
    voxels = load_volume(stack).voxels
    assert voxels.mean() == pytest.approx(truth["value_mean"], abs=0.01)
    assert voxels.max() == pytest.approx(truth["value_max"], rel=1e-6)
    middle = tuple(size // 2 for size in stack.grid.shape)
    assert voxels[middle] == pytest.approx(truth["center_voxel_value"], rel=1e-6)


def test_the_real_tilted_and_uneven_ct_is_refused(shared_data: Path):
    files = sorted((shared_data / "ct_head_ge_tilt").glob("*.dcm"))
    (part,) = stacks_of([read_header(path) for path in files])
    assert isinstance(part, Unusable)
    assert part.reason.code == "UNEVEN_SPACING"
    assert "1.081 to 6.999" in part.reason.text
