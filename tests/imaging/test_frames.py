from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmwrite

from imaging.frames import headers_of, read_headers
from imaging.read import load_volume
from imaging.stack import Stack, Unusable, stacks_of
from tests.builders import ct_series, mr_series, placed, save
from tests.enhanced import enhanced

SHAPE = (6, 8, 10)


def volume_in(folder: Path):
    headers = [h for path in sorted(folder.glob("*.dcm")) for h in read_headers(path)]
    (stack,) = stacks_of(headers)
    assert isinstance(stack, Stack), stack
    return load_volume(stack)


def same(a, b):
    np.testing.assert_array_equal(a.voxels, b.voxels)
    np.testing.assert_allclose(a.grid.affine, b.grid.affine, atol=1e-6)
    assert a.grid.frame_of_reference_uid == b.grid.frame_of_reference_uid


def test_a_real_scan_is_the_same_volume_from_enhanced_and_classic(shared_data: Path, tmp_path):
    folder = shared_data / "mr_enhanced_vs_classic_philips"
    (tmp_path / "one.dcm").symlink_to(folder / "enhanced.dcm")
    from_enhanced, from_classic = volume_in(tmp_path), volume_in(folder / "classic")
    assert from_enhanced.voxels.shape == (40, 96, 96)
    same(from_enhanced, from_classic)
    assert len({header.instance_uid for header in from_enhanced.instances}) == 1


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("make", [ct_series, mr_series])
@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_enhanced_frames_in_any_order_are_the_classic_slices(tmp_path, make, plane, legacy):
    values = np.random.default_rng(4).integers(0, 900, SHAPE).astype(float)
    images = make(SHAPE, placed(plane, (2.0, 0.8, 0.9), turn_deg=11), voxels=values)
    save(images, tmp_path / "classic")
    order = np.random.default_rng(5).permutation(len(images))
    whole = enhanced([images[i] for i in order], legacy=legacy)
    save([whole], tmp_path / "enhanced")
    same(volume_in(tmp_path / "enhanced"), volume_in(tmp_path / "classic"))


def test_each_frame_has_its_own_rescale(tmp_path):
    images = mr_series(SHAPE, voxels=np.ones(SHAPE))
    for number, image in enumerate(images):
        image.RescaleSlope, image.RescaleIntercept = number + 1, 10 * number
    save([enhanced(images)], tmp_path)
    volume = volume_in(tmp_path)
    assert volume.voxels[:, 0, 0].tolist() == [1, 12, 23, 34, 45, 56]


def test_frames_are_described_by_their_groups_and_not_by_private_copies():
    images = mr_series(SHAPE, EchoTime="12.5", DiffusionBValue=800.0)
    whole = enhanced(images)
    inner = Dataset()
    inner.ImagePositionPatient, inner.EchoTime = [9, 9, 9], "99"
    block = whole.PerFrameFunctionalGroupsSequence[0].private_block(0x2005, "TEST", create=True)
    block.add_new(0x0F, "SQ", [inner])
    first, second = headers_of(whole)[:2]
    assert (first.frame, second.frame) == (0, 1)
    assert first.image.position == tuple(images[0].ImagePositionPatient)
    assert first.acquisition.echo_time_ms == 12.5
    assert first.acquisition.b_value == 800.0
    assert first.image_key != second.image_key
    assert first.image.orientation == second.image.orientation


def test_pixels_are_not_read(tmp_path):
    save([enhanced(mr_series(SHAPE))], tmp_path)
    (path,) = tmp_path.glob("*.dcm")
    whole = path.read_bytes()
    path.write_bytes(whole[: -6 * 8 * 10 * 2])
    assert len(read_headers(path)) == SHAPE[0]


def test_one_instance_of_two_echoes_gives_two_stacks(tmp_path):
    images = [*mr_series(SHAPE, EchoTime="5"), *mr_series(SHAPE, EchoTime="15")]
    parts = stacks_of(headers_of(enhanced(images)))
    assert [part.name for part in parts] == ["echo 1", "echo 2"]
    assert all(isinstance(part, Stack) for part in parts)


def test_a_gap_in_an_enhanced_instance_is_seen():
    images = mr_series(SHAPE)
    del images[2]
    (part,) = stacks_of(headers_of(enhanced(images)))
    assert isinstance(part, Unusable)
    assert part.reason.code == "MISSING_SLICES"


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("MULTIFRAME", {}),
        ("CINE", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.3.1", "Modality": "US"}),
        ("CINE", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.12.1", "Modality": "XA"}),
        ("SECONDARY_CAPTURE", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.2"}),
        ("TOMOSYNTHESIS", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.3", "Modality": "MG"}),
    ],
)
def test_frames_that_tell_no_place_are_refused_by_name(code, changes):
    whole = enhanced(mr_series(SHAPE))
    del whole.PerFrameFunctionalGroupsSequence
    for keyword, value in changes.items():
        setattr(whole, keyword, value)
    (part,) = stacks_of(headers_of(whole))
    assert isinstance(part, Unusable)
    assert part.reason.code == code


PLACES = ("PlanePositionSequence", "PlaneOrientationSequence")


@pytest.mark.parametrize(
    ("code", "sop_class", "modality"),
    [
        ("ULTRASOUND_VOLUME", "1.2.840.10008.5.1.4.1.1.6.2", "US"),
        ("CINE", "1.2.840.10008.5.1.4.1.1.12.1.1", "XA"),
        ("CINE", "1.2.840.10008.5.1.4.1.1.12.2.1", "RF"),
        ("TOMOSYNTHESIS", "1.2.840.10008.5.1.4.1.1.13.1.4", "MG"),
        ("NO_GEOMETRY", "1.2.840.10008.5.1.4.1.1.4.1", "MR"),
    ],
)
def test_frames_with_groups_but_without_places_are_one_part(code, sop_class, modality):
    whole = enhanced(mr_series(SHAPE))
    whole.SOPClassUID, whole.Modality = sop_class, modality
    for frame in (*whole.PerFrameFunctionalGroupsSequence, *whole.SharedFunctionalGroupsSequence):
        for group in PLACES:
            frame.pop(group, None)
    (part,) = stacks_of(headers_of(whole))
    assert isinstance(part, Unusable)
    assert part.reason.code == code


def pieces(*numbers, total=3):
    """A multi-frame image of 6 slices in three instances, two slices each."""
    images = mr_series(SHAPE)
    made = []
    for number in numbers:
        piece = enhanced(images[2 * number - 2 : 2 * number])
        piece.ConcatenationUID, piece.InConcatenationNumber = "1.2.3", number
        piece.InConcatenationTotalNumber = total
        made += headers_of(piece)
    return stacks_of(made)


def test_a_concatenation_is_one_stack():
    (stack,) = pieces(3, 1, 2)
    assert isinstance(stack, Stack)
    assert stack.grid.shape == SHAPE
    assert len({header.instance_uid for header in stack.instances}) == 3


def test_a_concatenation_without_its_last_piece_is_refused():
    (part,) = pieces(1, 2)
    assert isinstance(part, Unusable)
    assert part.reason.code == "INCOMPLETE_CONCATENATION"
    assert part.reason.text == "2 of 3 parts of a multi-frame image are there"


def test_fewer_descriptions_than_frames_are_refused():
    whole = enhanced(mr_series(SHAPE))
    del whole.PerFrameFunctionalGroupsSequence[-1]
    (part,) = stacks_of(headers_of(whole))
    assert isinstance(part, Unusable)
    assert part.reason.code == "MULTIFRAME"


def test_tomosynthesis_with_plane_positions_is_a_stack():
    whole = enhanced(mr_series(SHAPE))
    whole.SOPClassUID, whole.Modality = "1.2.840.10008.5.1.4.1.1.13.1.3", "MG"
    (part,) = stacks_of(headers_of(whole))
    assert isinstance(part, Stack)
    assert part.grid.shape == SHAPE


def test_a_frame_is_stored_where_its_number_says(tmp_path):
    values = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(float)
    images = mr_series(SHAPE, voxels=values)
    dcmwrite(tmp_path / "a.dcm", enhanced(images[::-1]), enforce_file_format=True)
    volume = volume_in(tmp_path)
    np.testing.assert_array_equal(volume.voxels, values)
    assert [header.frame for header in volume.instances] == [5, 4, 3, 2, 1, 0]
