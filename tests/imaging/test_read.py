"""Whole stacks: random sound series in every encoding, memory, notes."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from imaging.errors import PixelsUnreadable
from imaging.frames import read_headers
from imaging.header import read_header
from imaging.read import load_volume, stored_values
from imaging.real_world import real_world_maps
from imaging.stack import Stack, stacks_of
from imaging.suv import Uptake, uptake_of
from tests.builders import ct_series, mr_series, placed, save
from tests.imaging.encoded import ENCODERS, EXPLICIT, JPEG_LS_NEAR

ENCODINGS = [EXPLICIT, *ENCODERS]
_PEAK = """
import sys
from pathlib import Path
from imaging.frames import read_headers
from imaging.read import load_volume
from imaging.stack import stacks_of
status = Path("/proc/self/status")
paths = sorted(Path(sys.argv[1]).iterdir())
(stack,) = stacks_of([header for path in paths for header in read_headers(path)])
Path("/proc/self/clear_refs").write_text("5")
before = int(status.read_text().split("VmHWM:")[1].split()[0])
volume = load_volume(stack)
print(int(status.read_text().split("VmHWM:")[1].split()[0]) - before, volume.voxels.nbytes >> 10)
"""


def compress(ds: Dataset, syntax: str) -> None:
    """Encode the pixels of a native image of 16 bits."""
    stored = np.frombuffer(ds.PixelData, "<u2").reshape(ds.Rows, ds.Columns)
    encode = ENCODERS.get(syntax)
    if encode is not None:
        ds.PixelData = encapsulate([encode(stored, ds.BitsStored)])
        ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = UID(syntax)


def stack_of(paths) -> Stack:
    (stack,) = stacks_of([header for path in paths for header in read_headers(path)])
    assert isinstance(stack, Stack), stack
    return stack


@pytest.mark.parametrize("seed", range(15))
def test_a_random_sound_series_reads_back(tmp_path: Path, seed):
    """Any plane, turn, spacing, place, size, encoding and order of files."""
    random = np.random.default_rng(seed)
    shape = tuple(int(n) for n in random.integers((3, 9, 9), (12, 40, 40)))
    affine = placed(
        str(random.choice(["axial", "sagittal", "coronal"])),
        tuple(random.uniform(0.4, 5.0, 3).round(3)),
        origin_mm=tuple(random.uniform(-300, 300, 3).round(2)),
        turn_deg=float(random.uniform(-20, 20)),
    )
    voxels = random.integers(-1024, 3071, shape)
    images = ct_series(shape, affine, voxels=voxels)
    for image in images:
        compress(image, ENCODINGS[seed % len(ENCODINGS)])
    paths = save(images, tmp_path)
    random.shuffle(paths)
    volume = load_volume(stack_of(paths))
    np.testing.assert_array_equal(volume.voxels, voxels)
    np.testing.assert_allclose(volume.grid.affine, affine, atol=1e-3)


def test_slices_of_different_encodings_make_one_volume(tmp_path: Path):
    voxels = np.random.default_rng(1).integers(-1024, 3071, (20, 16, 16))
    images = ct_series(voxels.shape, voxels=voxels)
    for index, image in enumerate(images):
        compress(image, ENCODINGS[index % len(ENCODINGS)])
    stack = stack_of(save(images, tmp_path))
    np.testing.assert_array_equal(load_volume(stack).voxels, voxels)
    np.testing.assert_array_equal(stored_values(stack.instances), voxels + 1024)


def test_each_slice_has_its_own_rescale(tmp_path: Path):
    images = mr_series((4, 8, 8), voxels=np.full((4, 8, 8), 100))
    for index, image in enumerate(images):
        image.RescaleSlope, image.RescaleIntercept = index + 1, 0
    volume = load_volume(stack_of(save(images, tmp_path)))
    assert volume.voxels[:, 0, 0].tolist() == [100, 200, 300, 400]


def test_one_bad_slice_refuses_the_volume(tmp_path: Path):
    images = ct_series((30, 8, 8))
    stack = stack_of(save(images, tmp_path))
    bad = stack.instances[17].path
    assert bad is not None
    bad.write_bytes(bad.read_bytes()[:-8])
    with pytest.raises(PixelsUnreadable):
        load_volume(stack)


def test_stored_values_are_widened_where_images_differ(tmp_path: Path):
    images = ct_series((2, 4, 4))
    images[1].PixelRepresentation, images[1].BitsStored, images[1].HighBit = 1, 16, 15
    images[1].PixelData = np.full((4, 4), -7, "<i2").tobytes()
    values = stored_values([read_header(path) for path in save(images, tmp_path)])
    assert values.dtype == np.int32
    assert values[1].max() == -7


def test_memory_stays_near_that_of_the_array(tmp_path: Path):
    paths = save(ct_series((40, 512, 512)), tmp_path)
    measured = subprocess.run(
        [sys.executable, "-c", _PEAK, str(paths[0].parent)],
        check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    grown, array = map(int, measured.stdout.split())
    assert grown < 1.3 * array


def test_a_lossy_encoding_is_noted_though_the_header_does_not_say_so(tmp_path: Path):
    images = ct_series((3, 8, 8), voxels=np.random.default_rng(2).integers(0, 900, (3, 8, 8)))
    for image in images:
        compress(image, "1.2.840.10008.1.2.4.80")
        image.file_meta.TransferSyntaxUID = UID(JPEG_LS_NEAR)
    notes = load_volume(stack_of(save(images, tmp_path))).notes
    assert [note.code for note in notes].count("LOSSY_INPUT") == 1


# Quantities that the header offers


def pet(**header: object) -> Dataset:
    ds = Dataset()
    ds.Units, ds.DecayCorrection, ds.CorrectedImage = "BQML", "START", ["DECY", "ATTN"]
    ds.PatientWeight = 70
    ds.SeriesDate = ds.AcquisitionDate = "20240131"
    ds.SeriesTime, ds.AcquisitionTime = "113000", "113000.25"
    isotope = Dataset()
    isotope.RadionuclideTotalDose, isotope.RadionuclideHalfLife = 350e6, 6586.2
    isotope.RadiopharmaceuticalStartTime = "103000.00"
    ds.RadiopharmaceuticalInformationSequence = [isotope]
    for keyword, value in header.items():
        target = isotope if keyword.startswith("Radio") else ds
        setattr(target, keyword, value)
    return ds


def test_suv_factor_by_body_weight():
    found = uptake_of(pet())
    assert isinstance(found, Uptake)
    # 350 MBq after one hour of fluorine 18 are 239.6 MBq
    assert found.per_unit == pytest.approx(70_000 / 239.62e6, rel=1e-4)
    late = uptake_of(pet(SeriesTime="003000", AcquisitionTime="003500",
                         RadiopharmaceuticalStartTime="233000"))  # fmt: skip
    assert late == found
    administered = uptake_of(pet(DecayCorrection="ADMIN"))
    assert isinstance(administered, Uptake)
    assert administered.per_unit == pytest.approx(70_000 / 350e6)
    assert uptake_of(pet(Units="GML")) == Uptake(per_unit=1.0)


@pytest.mark.parametrize(
    "lack",
    [
        {"Units": "CNTS"},
        {"PatientWeight": 0},
        {"PatientWeight": None},
        {"DecayCorrection": "NONE"},
        {"CorrectedImage": ["ATTN"]},
        {"SeriesTime": "120000"},  # later than the acquisition: set anew by a later reconstruction
        {"RadionuclideTotalDose": 0},
        {"RadionuclideHalfLife": None},
        {"RadiopharmaceuticalStartTime": ""},
    ],
)
def test_no_suv_factor_from_a_header_that_leaves_something_to_guess(lack):
    found = uptake_of(pet(**lack))
    assert not isinstance(found, Uptake)
    assert found.code == "NO_SUV_FACTOR"
    assert found.text_zh != found.text


def test_suv_is_offered_but_not_applied(tmp_path: Path):
    images = ct_series((3, 8, 8), Modality="PT", RescaleIntercept=0)
    for image in images:
        image.update(pet())
    volume = load_volume(stack_of(save(images, tmp_path)))
    assert [note.code for note in volume.notes] == ["SUV_FACTOR"]
    assert volume.voxels.max() == 1024


def test_real_world_maps_are_read():
    unit, item, group, ds = Dataset(), Dataset(), Dataset(), Dataset()
    unit.CodeValue, unit.CodingSchemeDesignator = "{SUVbw}g/ml", "UCUM"
    item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped = 0, 32767
    item.RealWorldValueSlope, item.RealWorldValueIntercept = 0.001, 0.0
    item.LUTLabel, item.MeasurementUnitsCodeSequence = "SUV", [unit]
    ds.RealWorldValueMappingSequence = [item]
    group.RealWorldValueMappingSequence = [item]
    ds.PerFrameFunctionalGroupsSequence = [Dataset(), group]
    whole, frame = real_world_maps(ds)
    assert (whole.slope, whole.unit, whole.frame) == (0.001, "{SUVbw}g/ml", None)
    assert frame == replace(whole, frame=1)
