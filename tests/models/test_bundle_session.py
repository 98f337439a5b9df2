import json
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

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
from tests.builders import placed
from tests.models.bundles import (
    CONFIGS,
    graded,
    short_axis,
    spleen,
    wants_a_gpu,
    weights,
    write_bundle,
)
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
RUNS = Path(__file__).with_name("bundle_runs.py")
CHILD = Path(__file__).parents[2] / "models" / "bundle_child.py"
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def maps(answer, labels, grid):
    of = label_maps(answer, labels, grid)
    return np.stack(list(map(of, range(len(labels)))))


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


def saved(folder, grid, images):
    """Images as files, as whoever tries a bundle by hand has them."""
    paths = [folder / f"{number}.nii.gz" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        nibabel.save(nibabel.Nifti1Image(image.T, LPS_TO_RAS @ grid.affine), path)
    return list(map(str, paths))


@pytest.fixture(scope="module")
def images(voxels):
    """Four images that differ."""
    return [voxels, voxels[::-1] * 0.5, voxels[:, ::-1] + 40.0, np.abs(voxels)]


@pytest.fixture(scope="module")
def grids(grid):
    """Where the images of each bundle lie: MONAI writes no sagittal file without resampling it."""
    axial = placed("axial", (3.1, 2.0, 2.0), turn_deg=10.0)
    return dict.fromkeys(CONFIGS, grid) | {"four_channels": replace(grid, affine=axial)}


@pytest.fixture(scope="module")
def folders(images, grid, grids, tmp_path_factory):
    """A folder for each bundle with what it answered, and what MONAI wrote for it."""
    files = saved(tmp_path_factory.mktemp("nifti"), grid, images)
    contrasts = saved(tmp_path_factory.mktemp("axial"), grids["four_channels"], images)
    phases = dict(zip(("artery", "vein", "excret"), files[:3], strict=True))
    lists = {
        "four_channels": {"test_datalist": [{"image": contrasts}]},
        "three_files": {"datalist": [phases]},
    }
    shown = {"four_channels": 4, "three_files": 3}
    work = [
        piece(tmp_path_factory.mktemp(name), grids[name], images[: shown.get(name, 1)])
        | {"monai": lists.get(name, {"datalist": files[:1]})}
        for name in CONFIGS
    ]
    for name, each in zip(CONFIGS, work, strict=True):
        write_bundle(Path(each["folder"]) / "bundle", CONFIGS[name](), wrapped=name == "whole_body")
    found = dict(zip(CONFIGS, (Path(each["folder"]) for each in work), strict=True))
    alone = {
        "torchscript": (torchscript, "volume-outline", images[:1]),
        "gpu": (lambda folder: write_bundle(folder, wants_a_gpu()), "volume-outline", images[:1]),
        "short_axis": (outlines_slices, "slices-outline", [images[0][:3]]),
        "graded-2": (lambda folder: grades(folder, 2), "slices-classes", images[:1]),
        "graded-3": (lambda folder: grades(folder, 3), "volume-classes", images[:1]),
    }
    for name, (write, how, given) in alone.items():
        found[name] = tmp_path_factory.mktemp(name)
        write(found[name] / "bundle")
        work.append(piece(found[name], grid, given, how=how) | {"monai": None})
    file = tmp_path_factory.mktemp("work") / "work.json"
    file.write_text(json.dumps(work))
    command = [sys.executable, "-P", str(RUNS), str(CHILD), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return found


def piece(folder, grid, images, how="volume-outline"):
    """One question to a bundle, as `BundleSession` asks it."""
    paths = [folder / f"{number}.npy" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        np.save(path, np.ascontiguousarray(image))
    question = {
        "images": list(map(str, paths)),
        "affine": grid.affine.tolist(),
        "result": str(folder / "result.npy"),
    }
    return {"folder": str(folder), "how": how, "question": question}


def torchscript(folder):
    bundle = write_bundle(folder, spleen())
    definition = spleen()["network_def"]
    network = ConfigParser({"network_def": definition}).get_parsed_content("network_def")
    network.load_state_dict(weights(definition))
    (bundle / "models" / "model.pt").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls TorchScript old; the Model Zoo has it
        torch.jit.trace(network.eval(), torch.zeros(1, 1, 16, 16, 16)).save(
            bundle / "models" / "model.ts"
        )


def outlines_slices(folder):
    write_bundle(folder, short_axis(), names=("ventricle", "wall"), spatial_shape=["*", "*"])


def grades(folder, dimensions):
    write_bundle(
        folder, graded(dimensions), names=("a", "b", "c"), form="labels",
        spatial_shape=[16] * dimensions,
    )  # fmt: skip


def written(folder):
    """What MONAI wrote, (channel, slice, row, column)."""
    (path,) = (folder / "out").rglob("*.nii.gz")
    array = np.asarray(nibabel.load(path).dataobj, dtype=np.float32)
    return array.reshape(*array.shape[:3], -1).transpose(3, 2, 1, 0)


@pytest.fixture(scope="module")
def answers(folders):
    return {
        name: BundleAnswer(
            voxels=np.load(folder / "result.npy"),
            affine=np.array(json.loads((folder / "answer.json").read_text())["affine"]),
        )
        for name, folder in folders.items()
    }


@pytest.mark.parametrize("name", CONFIGS)
def test_a_bundle_answers_voxel_by_voxel_what_monai_writes(name, folders, answers, grids):
    expected = written(folders[name])
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(answers[name].voxels, expected)
    if name != "without_inverse":
        np.testing.assert_allclose(answers[name].affine, grids[name].affine, atol=1e-4)


def test_what_was_written_for_a_gpu_runs_without_one(answers):
    np.testing.assert_array_equal(answers["gpu"].voxels, answers["spleen"].voxels)


def test_torchscript_weights_need_no_network_definition(answers):
    np.testing.assert_array_equal(answers["torchscript"].voxels, answers["spleen"].voxels)


def test_an_answer_on_the_grid_of_the_network_comes_back_to_that_of_the_series(answers, grid):
    answer = answers["without_inverse"]
    there = Grid(
        shape=answer.voxels.shape[1:], affine=answer.affine, frame_of_reference_uid="1.2.3"
    )
    assert there.shape != grid.shape
    found = maps(answer, labels_of(1, 2), grid)
    for at, number in enumerate((1, 2)):
        organ = (answer.voxels[0] == number).astype(np.float32)
        np.testing.assert_array_equal(found[at], resample(organ, there, grid))
    assert found.any()


def test_a_label_is_a_channel_of_several_or_a_number_in_one(grid):
    numbers = np.indices(grid.shape)[0].astype(np.float32) % 3
    one = BundleAnswer(voxels=numbers[np.newaxis], affine=grid.affine)
    several = BundleAnswer(voxels=np.stack([numbers == at for at in range(3)]), affine=grid.affine)
    wanted = labels_of(2, 1)
    np.testing.assert_array_equal(maps(one, wanted, grid), np.stack([numbers == 2, numbers == 1]))
    np.testing.assert_array_equal(maps(several, wanted, grid), maps(one, wanted, grid))
    with pytest.raises(InferenceFailed, match="3 channels, a label is in channel 3"):
        maps(several, labels_of(3), grid)


def test_a_structure_may_be_several_numbers_of_a_map_and_must_say_which(grid):
    numbers = np.indices(grid.shape)[0].astype(np.float32) % 3
    one = BundleAnswer(voxels=numbers[np.newaxis] ** 2, affine=grid.affine)  # 0, 1 and 4
    whole = replace(LABEL, channel=0, values=(1, 4))
    core = replace(LABEL, number=2, values=(4,))
    np.testing.assert_array_equal(
        maps(one, [whole, core], grid), np.stack([numbers > 0, numbers == 2])
    )
    for unsaid in (labels_of(0), labels_of(0, 1)):
        with pytest.raises(InferenceFailed, match=r"numbers \(1, 4\): `values` must say .* Organ"):
            maps(one, unsaid, grid)


def test_a_bundle_uses_its_own_scripts_and_leaves_its_package_as_it_is(tmp_path, grid, voxels):
    config = spleen()
    config["preprocessing"]["transforms"].append({"_target_": "scripts.notes.Note"})
    bundle = write_bundle(tmp_path / "bundle", config)
    (bundle / "scripts").mkdir()
    (bundle / "scripts" / "notes.py").write_text(NOTE)
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    session = BundleSession(bundle, CPU, 0)
    assert session.run([voxels], grid.affine).voxels.shape == (1, *grid.shape)
    assert {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()} == before
    with pytest.raises(InferenceFailed, match="on this volume: RuntimeError: second note"):
        session.run([voxels], grid.affine)


def in_the_open(config, image):
    """What a few lines of MONAI say about one image, (channel, ...) before any decision."""
    parser = ConfigParser({"network_def": config["network_def"]})
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(weights(config["network_def"]))
    with torch.no_grad():
        return network.eval()(image[None])[0]


def test_slices_are_outlined_one_by_one(answers, grid, voxels):
    config, answer = short_axis(), answers["short_axis"]
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
def test_classes_keep_their_probabilities(dimensions, answers, voxels):
    config, answer = graded(dimensions), answers[f"graded-{dimensions}"]
    images = list(voxels) if dimensions == 2 else [voxels]
    assert answer.voxels.shape == (len(images), 3)
    for found, image in zip(answer.voxels, images, strict=True):
        small = Resize([16] * dimensions)(torch.as_tensor(image.T[None].copy()))
        expected = in_the_open(config, ScaleIntensity()(small).as_tensor()).softmax(0)
        np.testing.assert_allclose(found, expected, atol=1e-5)
