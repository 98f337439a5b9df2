"""`wetread inspect --json --digest` against what independent tools say of real series."""

import json
import tarfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array

from serving.commands.inspect import inspect
from tests.builders import mr_series, save
from tests.enhanced import enhanced
from tests.imaging.test_units import FACTOR, pet_series

REAL = (
    "mr_t1_siemens_sag_hfs/series.tar.xz",
    "ct_abdomen_j2k/dicom",
    "short_series/ge/anatomical/001",
    "short_series/philips/anatomical/001",
    "short_series/philips_enhanced/anatomical/001",
    "short_series/hitachi/anatomical/001",
    "short_series/generic/compressed_rle/001",
    "short_series/generic/compressed_j2k/001",
)


def inspected(folder: Path, capsys, *, digest=True):
    assert inspect(folder, as_json=True, digest=digest) == 0
    series = json.loads(capsys.readouterr().out)
    return [stack for entry in series for stack in entry["stacks"]]


@pytest.mark.parametrize("name", REAL)
def test_real_series_are_where_and_what_the_truth_says(shared_data, tmp_path, capsys, name):
    path = shared_data / name
    if path.suffix == ".xz":
        truth = json.loads((path.parent / "truth.json").read_text())
        with tarfile.open(path) as archive:
            archive.extractall(tmp_path, filter="data")
        path = tmp_path
    else:
        beside = path.parent / "001_truth.json"
        truth = json.loads((beside if beside.exists() else path.parent / "truth.json").read_text())
    (stack,) = inspected(path, capsys)
    assert stack["usable"]
    assert stack["name"] == ""
    assert stack["instances"] == truth["files"]
    assert stack["shape"] == [truth["frames"], truth["rows"], truth["columns"]]
    expected = np.array(truth["affine_lps_ijk_col_row_slice"])
    assert np.abs(np.array(stack["affine_lps"]) - expected).max() < 1e-3
    assert stack["stored_sha256"] == truth["stored_sha256_sorted_le"]


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("ct_head_ge_tilt", ["UNEVEN_SPACING"]),
        ("short_series/failing/sliceincrement/001", ["MISSING_SLICES"]),
        ("not_a_volume/failing/sliceorientation/001", ["MIXED_ORIENTATION"]),
        ("not_a_volume/failing/notavolume/001", ["DUPLICATE_SLICES"]),
        ("cxr", ["IMAGE_2D"] * 4),
    ],
)
def test_what_is_no_volume_is_refused_with_its_reason(shared_data, capsys, name, reasons):
    stacks = inspected(shared_data / name, capsys)
    assert [stack["reason"] for stack in stacks] == reasons
    assert not any(stack["usable"] for stack in stacks)


@pytest.mark.parametrize("name", ["ct_head_ge_tilt", "short_series/failing/sliceincrement/001"])
def test_slices_that_stand_wrongly_have_a_digest_in_their_order(shared_data, capsys, name):
    path = shared_data / name
    beside = path.parent / "001_truth.json"
    truth = json.loads((beside if beside.exists() else path / "truth.json").read_text())
    (stack,) = inspected(path, capsys)
    assert stack["usable"] is False
    assert stack["stored_sha256"] == truth["stored_sha256_sorted_le"]


def test_a_number_that_is_none_is_null(tmp_path, capsys):
    save(mr_series((4, 6, 6), RescaleSlope="2"), tmp_path)
    (stack,) = inspected(tmp_path, capsys)
    assert (stack["reason"], stack["numbers"]) == (
        "HALF_RESCALE",
        {"slope": 2.0, "intercept": None},
    )


def test_a_mosaic_is_refused_by_name(shared_data, tmp_path, capsys):
    for path in (shared_data / "not_a_volume").glob("uih_mosaic_*.dcm"):
        (tmp_path / path.name).symlink_to(path)
    (stack,) = inspected(tmp_path, capsys)
    assert stack["reason"] == "MOSAIC"
    assert stack["instances"] == 3


def test_one_image_has_its_digest_and_shape(shared_data, tmp_path, capsys):
    path = shared_data / "transfer_syntax_ct1" / "ct1_base_1.2.840.10008.1.2.dcm"
    (tmp_path / "a.dcm").symlink_to(path)
    (stack,) = inspected(tmp_path, capsys)
    pixels = dcmread(path).pixel_array
    assert stack["usable"] is False
    assert stack["reason"] == "SINGLE_IMAGE"
    assert stack["kind"] == "2D image"
    assert stack["shape"] == list(pixels.shape)
    assert stack["spacing_source"] == "in the patient"
    assert stack["stored_sha256"] == sha256(np.ascontiguousarray(pixels, "<i2")).hexdigest()


def test_stacks_of_one_series_have_names_and_digests_of_their_own(tmp_path, capsys):
    rng = np.random.default_rng(2)
    first, second = (rng.integers(0, 4000, (4, 6, 6)) for _ in range(2))
    images = [*mr_series((4, 6, 6), voxels=first, EchoTime="5")]
    images += mr_series((4, 6, 6), voxels=second, EchoTime="15")
    save([enhanced(images)], tmp_path)
    stacks = inspected(tmp_path, capsys)
    assert [stack["name"] for stack in stacks] == ["echo 1", "echo 2"]
    assert [stack["instances"] for stack in stacks] == [1, 1]
    for stack, values in zip(stacks, (first, second), strict=True):
        assert stack["stored_sha256"] == sha256(values.astype("<u2")).hexdigest()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("transfer_syntax_colour/TestPattern_Palette.dcm", "NOT_GREYSCALE"),
        ("transfer_syntax_colour/TestPattern_RGB.dcm", "NOT_GREYSCALE"),
        ("transfer_syntax_colour/HTJ2KLossless_08_RGB.dcm", "SECONDARY_CAPTURE"),
        ("transfer_syntax_colour/HTJ2K_08_RGB.dcm", "SECONDARY_CAPTURE"),
        ("seg_sr_rt/dcmqi/segmentations/liver.dcm", "FOREIGN_OBJECT"),
    ],
)
def test_a_refused_instance_has_its_digest_too(shared_data, tmp_path, capsys, name, reason):
    """Colours, and frames of 1 bit in the order of the file."""
    (tmp_path / "a.dcm").symlink_to(shared_data / name)
    (stack,) = inspected(tmp_path, capsys)
    pixels = pixel_array(shared_data / name, raw=True)
    assert stack["reason"] == reason
    assert stack["stored_sha256"] == sha256(np.ascontiguousarray(pixels)).hexdigest()


def test_the_frame_count_of_a_refused_instance_is_not_believed(tmp_path, capsys):
    (image,) = mr_series((1, 6, 6))
    image.NumberOfFrames = 1_000_000
    image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.5"
    image.PixelData = encapsulate([image.PixelData])
    save([image], tmp_path)
    (stack,) = inspected(tmp_path, capsys)
    assert stack["reason"] == "MULTIFRAME"
    assert stack["stored_sha256"] is None
    assert "1000000 frames" in stack["unreadable"]


def test_an_instance_of_more_frames_than_any_is_skipped_with_the_reason(tmp_path, capsys):
    (image,) = mr_series((1, 6, 6))
    image.NumberOfFrames = 2**31 - 1
    save([image], tmp_path)
    inspect(tmp_path, as_json=True)
    told = capsys.readouterr()
    assert json.loads(told.out) == []
    assert "2147483647 frames" in told.err
    assert "too large" in told.err


def test_units_and_losses_are_said(tmp_path, capsys):
    images = pet_series(LossyImageCompression="01", LossyImageCompressionRatio="8")
    save(images, tmp_path)
    (stack,) = inspected(tmp_path, capsys, digest=False)
    assert [each["unit"] for each in stack["units"]] == ["Bq/ml", "{SUVbw}g/ml"]
    assert stack["units"][0] == {"unit": "Bq/ml", "slope": 2.0, "intercept": 0.0}
    assert stack["units"][1]["slope"] == pytest.approx(2 * FACTOR, rel=1e-4)
    assert "SUV by body weight" in stack["units"][1]["by"]
    assert stack["lossy"] == "unknown, 8 : 1"
    assert inspect(tmp_path, as_json=False) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "{SUVbw}g/ml" in shown
    assert "loss" in shown


def test_a_single_pet_image_says_why_it_has_no_suv(tmp_path, capsys):
    save(pet_series(PatientWeight=None)[:1], tmp_path)
    (image,) = inspected(tmp_path, capsys, digest=False)
    assert [each["unit"] for each in image["units"]] == ["Bq/ml"]
    assert "PatientWeight" in image["no_suv"]


def test_without_digest_no_pixel_is_read(tmp_path, capsys):
    save(mr_series((4, 6, 6)), tmp_path)
    (stack,) = inspected(tmp_path, capsys, digest=False)
    assert stack["usable"]
    assert "stored_sha256" not in stack


def test_pixels_that_cannot_be_decoded_are_said(tmp_path, capsys):
    (image,) = mr_series((1, 6, 6))
    image.PhotometricInterpretation, image.BitsAllocated = "MONOCHROME2", 12
    save([image], tmp_path)
    (stack,) = inspected(tmp_path, capsys)
    assert stack["stored_sha256"] is None
    assert "12 bits" in stack["unreadable"]
