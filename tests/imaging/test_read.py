"""Whole stacks: random sound series in every encoding, memory, notes."""

import subprocess
import sys
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
from imaging.stack import Stack, stacks_of
from tests.builders import ct_series, mr_series, placed, save
from tests.imaging.encoded import ENCODERS, EXPLICIT

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
