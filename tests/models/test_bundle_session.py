import subprocess
import sys
import warnings
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle.config_parser import ConfigParser
from monai.transforms.intensity.array import ScaleIntensity
from monai.transforms.spatial.array import Resize

from imaging.codes import TISSUE
from imaging.errors import InferenceFailed
from imaging.findings import Urgency
from imaging.geometry import Grid
from imaging.resample import resample
from models.bundle_maps import label_maps
from models.bundle_session import BundleAnswer, BundleSession
from models.device import CPU
from models.manifest import Label
from tests.models.bundles import CONFIGS, graded, short_axis, spleen, weights, write_bundle
from tests.models.volumes import oblique

LABEL = Label(
    number=1,
    channel=1,
    label="Organ",
    category=TISSUE,
    type=TISSUE,
    cielab=(50.0, 0.0, 0.0),
    threshold=0.5,
    largest_component=False,
    fill_holes=False,
    urgency=Urgency.ROUTINE,
)

NOTE = """
from pathlib import Path

class Note:
    def __call__(self, data):
        if Path("eval").exists():
            raise RuntimeError("second note")
        Path("eval").mkdir()
        Path("eval/note.txt").write_text("was here")
        return data
"""
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def labels_of(*channels):
    return [
        replace(LABEL, number=number, channel=channel)
        for number, channel in enumerate(channels, start=1)
    ]


@pytest.fixture(scope="module")
def grid():
    return oblique((17, 30, 26), (3.1, 2.0, 2.0))


@pytest.fixture(scope="module")
def voxels(grid):
    ramp = np.indices(grid.shape).sum(axis=0) * 4.0 - 100.0
    noise = np.random.default_rng(5).normal(0.0, 60.0, grid.shape)
    return (ramp + noise).astype(np.int16).astype(np.float32)


@pytest.fixture(scope="module")
def nifti(grid, voxels, tmp_path_factory):
    """The same volume as a file, as whoever tries a bundle by hand has it."""
    folder = tmp_path_factory.mktemp("nifti")
    image = nibabel.Nifti1Image(voxels.T, LPS_TO_RAS @ grid.affine)
    nibabel.save(image, folder / "volume.nii.gz")
    return folder


# In a process of its own, as `python -m monai.bundle run` is; one for all, because loading takes
# seconds.
RUN_ALL = """
import sys
import monai.bundle
for folder in sys.argv[2:]:
    monai.bundle.run(
        config_file=folder + "/bundle/configs/inference.json",
        meta_file=folder + "/bundle/configs/metadata.json",
        workflow_type="inference",
        bundle_root=folder + "/bundle",
        dataset_dir=sys.argv[1],
        output_dir=folder + "/out",
        logging_file=False,
    )
"""


@pytest.fixture(scope="module")
def folders(nifti, tmp_path_factory):
    """A folder for each bundle, with what MONAI writes for it beside."""
    folders = {name: tmp_path_factory.mktemp(name) for name in CONFIGS}
    for name, folder in folders.items():
        write_bundle(folder / "bundle", CONFIGS[name](), wrapped=name == "whole_body")
    command = [sys.executable, "-c", RUN_ALL, str(nifti), *map(str, folders.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folders


def written(folder):
    """What MONAI wrote, (channel, slice, row, column)."""
    (path,) = (folder / "out").rglob("*.nii.gz")
    array = np.asarray(nibabel.load(path).dataobj, dtype=np.float32)
    return array.reshape(*array.shape[:3], -1).transpose(3, 2, 1, 0)


@pytest.fixture(scope="module")
def answers(folders, grid, voxels):
    return {
        name: BundleSession(folder / "bundle", CPU, 0).run(voxels, grid.affine)
        for name, folder in folders.items()
    }


@pytest.mark.parametrize("name", CONFIGS)
def test_a_bundle_answers_voxel_by_voxel_what_monai_writes(name, folders, answers, grid):
    expected = written(folders[name])
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(answers[name].voxels, expected)
    if name != "without_inverse":
        np.testing.assert_allclose(answers[name].affine, grid.affine, atol=1e-4)


def test_an_answer_on_the_grid_of_the_network_comes_back_to_that_of_the_series(answers, grid):
    answer = answers["without_inverse"]
    there = Grid(
        shape=answer.voxels.shape[1:], affine=answer.affine, frame_of_reference_uid="1.2.3"
    )
    assert there.shape != grid.shape
    found = label_maps(answer, labels_of(1, 2), grid)
    for at, number in enumerate((1, 2)):
        organ = (answer.voxels[0] == number).astype(np.float32)
        np.testing.assert_array_equal(found[at], resample(organ, there, grid))
    assert found.any()


def test_a_label_is_a_channel_of_several_or_a_number_in_one(grid):
    numbers = np.indices(grid.shape)[0].astype(np.float32) % 3
    one = BundleAnswer(voxels=numbers[np.newaxis], affine=grid.affine)
    several = BundleAnswer(voxels=np.stack([numbers == at for at in range(3)]), affine=grid.affine)
    wanted = labels_of(2, 1)
    np.testing.assert_array_equal(
        label_maps(one, wanted, grid), np.stack([numbers == 2, numbers == 1])
    )
    np.testing.assert_array_equal(label_maps(several, wanted, grid), label_maps(one, wanted, grid))
    with pytest.raises(InferenceFailed, match="3 channels, a label is in channel 3"):
        label_maps(several, labels_of(3), grid)


def test_a_bundle_uses_its_own_scripts_and_leaves_its_package_as_it_is(tmp_path, grid, voxels):
    config = spleen()
    config["preprocessing"]["transforms"].append({"_target_": "scripts.notes.Note"})
    bundle = write_bundle(tmp_path / "bundle", config)
    (bundle / "scripts").mkdir()
    (bundle / "scripts" / "notes.py").write_text(NOTE)
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    session = BundleSession(bundle, CPU, 0)
    assert session.run(voxels, grid.affine).voxels.shape == (1, *grid.shape)
    assert {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()} == before
    with pytest.raises(InferenceFailed, match="on this volume: RuntimeError: second note"):
        session.run(voxels, grid.affine)


def test_torchscript_weights_need_no_network_definition(folders, tmp_path, grid, voxels):
    config = spleen()
    network = ConfigParser({"network_def": config["network_def"]}).get_parsed_content("network_def")
    network.load_state_dict(weights(config["network_def"]))
    bundle = write_bundle(tmp_path / "bundle", config)
    (bundle / "models" / "model.pt").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls TorchScript old; the Model Zoo has it
        torch.jit.trace(network.eval(), torch.zeros(1, 1, 16, 16, 16)).save(
            bundle / "models" / "model.ts"
        )
    answer = BundleSession(bundle, CPU, 0).run(voxels, grid.affine)
    np.testing.assert_array_equal(answer.voxels, written(folders["spleen"]))


def in_the_open(config, image):
    """What a few lines of MONAI say about one image, (channel, ...) before any decision."""
    parser = ConfigParser({"network_def": config["network_def"]})
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(weights(config["network_def"]))
    with torch.no_grad():
        return network.eval()(image[None])[0]


def test_slices_are_outlined_one_by_one(tmp_path, grid, voxels):
    config = short_axis()
    bundle = write_bundle(
        tmp_path / "bundle", config, names=("ventricle", "wall"), spatial_shape=["*", "*"]
    )
    answer = BundleSession(bundle, CPU, 0).run(voxels[:3], grid.affine)
    assert answer.voxels.shape == (1, 3, *grid.shape[1:])
    np.testing.assert_array_equal(answer.affine, grid.affine)
    for found, image in zip(answer.voxels[0], voxels[:3], strict=True):
        small = ScaleIntensity(-9.0, 9.0)(torch.as_tensor(image.T[None].copy()))
        small = Resize([32, 32])(small)
        soft = in_the_open(config, small.as_tensor()).softmax(0)
        back = Resize(image.T.shape)(soft).argmax(0).numpy()
        assert (back == found.T).mean() > 0.98  # the exact inverse is MONAI's own
    assert len(np.unique(answer.voxels)) > 1


@pytest.mark.parametrize("dimensions", [2, 3])
def test_classes_keep_their_probabilities(dimensions, tmp_path, grid, voxels):
    config = graded(dimensions)
    bundle = write_bundle(
        tmp_path / "bundle", config, names=("a", "b", "c"), form="labels",
        spatial_shape=[16] * dimensions,
    )  # fmt: skip
    answer = BundleSession(bundle, CPU, 0).run(voxels, grid.affine)
    images = list(voxels) if dimensions == 2 else [voxels]
    assert answer.voxels.shape == (len(images), 3)
    for found, image in zip(answer.voxels, images, strict=True):
        small = Resize([16] * dimensions)(torch.as_tensor(image.T[None].copy()))
        expected = in_the_open(config, ScaleIntensity()(small).as_tensor()).softmax(0)
        np.testing.assert_allclose(found, expected, atol=1e-5)
