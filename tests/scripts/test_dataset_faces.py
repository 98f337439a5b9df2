"""Faces go out of images of heads; what is within the skull stays."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from imaging.deidentify import Deidentifier
from imaging.findings import Mask
from imaging.header import read_header
from imaging.pseudonyms import kept_pseudonyms
from imaging.read import load_volume
from imaging.stack import Stack, stacks_of
from imaging.volume import Volume
from scripts.dataset_faces import Faces, FaceUncertain, face_finder
from scripts.demo_studies import DemoStudy

# Places in Colin27, patient coordinates in mm (x to the left, y to the back, z to the head).
FACE = {"nose": (0, -84, -40), "left eye": (32, -62, -40), "right eye": (-32, -62, -40),
        "mouth": (0, -85, -68)}  # fmt: skip
HEAD = {"frontal lobe": (0, -60, 0), "temporal pole": (40, -15, -32), "cerebellum": (0, 60, -40),
        "vertex": (0, 20, 75)}  # fmt: skip


@pytest.fixture(scope="module")
def stack(mr: DemoStudy) -> Stack:
    (found,) = stacks_of([read_header(path) for path in mr.paths])
    assert isinstance(found, Stack)
    return found


@pytest.fixture(scope="module")
def volume(stack: Stack) -> Volume:
    return load_volume(stack)


@pytest.fixture(scope="module")
def faces() -> Iterator[Faces]:
    with face_finder() as found:
        yield found


@pytest.fixture(scope="module")
def hidden(faces: Faces, stack: Stack, volume: Volume) -> Mask:
    found = faces.hidden(stack, volume)
    assert found is not None
    return found


def at(volume: Volume, place: tuple[int, int, int]) -> tuple[int, ...]:
    index = np.linalg.inv(volume.grid.affine) @ [*place, 1]
    return tuple(int(i) for i in np.round(index[:3]))


@pytest.mark.parametrize("name", FACE)
def test_the_face_goes(hidden: Mask, volume: Volume, name: str):
    assert hidden[at(volume, FACE[name])]


@pytest.mark.parametrize("name", HEAD)
def test_the_head_stays(hidden: Mask, volume: Volume, name: str):
    assert not hidden[at(volume, HEAD[name])]


def test_a_file_is_black_where_the_face_was(hidden: Mask, stack: Stack, tmp_path: Path):
    cleaner = Deidentifier(pseudonyms=kept_pseudonyms(tmp_path / "key"), patient_id="DEMO-MR")
    middle = 40
    path = stack.instances[middle].path
    assert path is not None
    clean = cleaner.instance(path, hidden=hidden[middle : middle + 1])
    assert isinstance(clean, bytes)
    made, source = dcmread(BytesIO(clean)), dcmread(path)
    gone = hidden[middle]
    assert gone.any()
    assert (made.pixel_array[gone] == source.pixel_array.min()).all()
    np.testing.assert_array_equal(made.pixel_array[~gone], source.pixel_array[~gone])
    assert made.RecognizableVisualFeatures == "NO"
    assert "113102" in [i.CodeValue for i in made.DeidentificationMethodCodeSequence]


def test_a_head_whose_skull_is_not_found_is_not_given_away(faces: Faces, stack: Stack, volume):
    noise = np.random.default_rng(1).normal(40, 30, volume.voxels.shape).astype(np.float32)
    with pytest.raises(FaceUncertain):
        faces.hidden(stack, Volume(voxels=noise, grid=volume.grid, instances=volume.instances))
