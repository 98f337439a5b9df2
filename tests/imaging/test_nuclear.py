"""Nuclear medicine: reconstructed tomograms are volumes, all else is refused by name."""

import numpy as np
import pytest
from pydicom import Dataset

from imaging.frames import headers_of, read_headers
from imaging.read import load_volume
from imaging.stack import Stack, Unusable, stacks_of
from tests.builders import mr_series, save

SHAPE = (8, 10, 12)
FIRST = (-50.0, -60.0, 100.0)


def tomogram(step_mm, orientation=(1, 0, 0, 0, 1, 0), **header):
    """One multi-frame image with the position of its first slice, as gamma cameras write it."""
    voxels = np.random.default_rng(3).integers(0, 900, SHAPE).astype("<u2")
    (image,) = mr_series((1, *SHAPE[1:]), ScanningSequence=None, EchoTime=None)
    image.SOPClassUID, image.Modality = "1.2.840.10008.5.1.4.1.1.20", "NM"
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.ImageType = ["DERIVED", "PRIMARY", "RECON TOMO", "EMISSION"]
    image.NumberOfFrames, image.SliceVector = SHAPE[0], list(range(1, SHAPE[0] + 1))
    image.PixelSpacing, image.SliceThickness, image.SpacingBetweenSlices = [3, 2], 4, step_mm
    del image.ImagePositionPatient, image.ImageOrientationPatient
    detector = Dataset()
    detector.ImagePositionPatient, detector.ImageOrientationPatient = list(FIRST), list(orientation)
    image.DetectorInformationSequence = [detector]
    image.PixelData = voxels.tobytes()
    for keyword, value in header.items():
        setattr(image, keyword, value)
    return image, voxels


@pytest.mark.parametrize("step_mm", [4.4, -4.4])
def test_the_sign_of_the_distance_is_the_direction(tmp_path, step_mm):
    image, voxels = tomogram(step_mm)
    (path,) = save([image], tmp_path)
    (stack,) = stacks_of(read_headers(path))
    assert isinstance(stack, Stack)
    assert stack.grid.spacing_mm == pytest.approx((4.4, 3, 2))
    found = load_volume(stack).voxels
    up = step_mm > 0
    np.testing.assert_array_equal(found, voxels if up else voxels[::-1])
    lowest = FIRST if up else (*FIRST[:2], FIRST[2] - 7 * 4.4)
    assert stack.grid.origin_mm == pytest.approx(lowest)
    assert "Spacing Between Slices" in stack.notes[0].text


def test_an_oblique_tomogram_follows_its_normal():
    image, _ = tomogram(-4.4, (0.96, 0.28, 0, 0, 0, -1))
    (stack,) = stacks_of(headers_of(image))
    last = np.array(FIRST) - 7 * 4.4 * np.cross((0.96, 0.28, 0), (0, 0, -1))
    ends = [stack.grid.origin_mm, tuple(stack.grid.points_mm(np.array([[7.0, 0, 0]]))[0])]
    np.testing.assert_allclose(sorted(ends), sorted([FIRST, tuple(last)]), atol=1e-9)


@pytest.mark.parametrize(
    ("code", "says", "changes"),
    [
        ("NO_GEOMETRY", "Spacing Between Slices", {"SpacingBetweenSlices": None}),
        ("NO_GEOMETRY", "Spacing Between Slices", {"SpacingBetweenSlices": 0}),
        ("NO_GEOMETRY", "Image Position", {"DetectorInformationSequence": []}),
        ("NUCLEAR_FRAMES", "RECON TOMO", {"SliceVector": [1, 2, 3, 4] * 2}),
        ("NUCLEAR_FRAMES", "DYNAMIC", {"ImageType": ["ORIGINAL", "PRIMARY", "DYNAMIC"]}),
        ("NUCLEAR_FRAMES", "TOMO", {"ImageType": ["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"]}),
        ("NUCLEAR_FRAMES", "unknown", {"ImageType": ["ORIGINAL", "PRIMARY"]}),
    ],
)
def test_what_is_no_sound_tomogram_is_refused_by_name(code, says, changes):
    image, _ = tomogram(4.4, **changes)
    (part,) = stacks_of(headers_of(image))
    assert isinstance(part, Unusable)
    assert part.reason.code == code
    assert says in part.reason.text


def test_static_images_are_pictures_each():
    images = []
    for number in range(3):
        image, _ = tomogram(4.4, ImageType=["ORIGINAL", "PRIMARY", "STATIC"], NumberOfFrames=1)
        del image.DetectorInformationSequence, image.SliceVector
        image.SOPInstanceUID = f"1.2.3.{number}"
        images += headers_of(image)
    parts = stacks_of(images)
    assert [part.reason.code for part in parts] == ["IMAGE_2D"] * 3
    assert parts[0].picture.spacing_mm == (3.0, 2.0)
