"""Training on heads of three ellipsoids: repeatable, resumable, exported with parity."""

import json

import numpy as np
import pytest
import torch

from imaging.errors import PackageInvalid, SetupError
from models.infer import predict
from models.package import read_package
from models.runtime import Sessions
from scripts import export_onnx, train
from scripts.heads.label_maps import LabelMap
from scripts.heads.synthesis import Heads
from scripts.heads.tissues import Tissue
from scripts.training import loop, spans
from scripts.training.config import read_config
from tests.models.networks import SEGMENTATION
from tests.models.volumes import grid_of, volume_of

CONFIG = """
[data]
kind = "heads"
[network]
name = "UNet"
[network.arguments]
spatial_dims = 3
in_channels = 1
out_channels = 3
channels = [4, 8]
strides = [2]
norm = "instance"
[[phases]]
steps = 3
size = [16, 24, 16]
spacing_mm = 9.0
[[phases]]
steps = 3
size = [24, 32, 24]
spacing_mm = 6.0
[training]
learning_rate = 1e-2
save_every = 2
seed = 4
workers = 0
"""
MANIFEST = SEGMENTATION.replace(
    'mode = "whole"', 'mode = "sliding_window"\npatch = [24, 32, 24]\nactivation = "sigmoid"'
)


@pytest.fixture(scope="module")
def head():
    x, y, z = np.indices((40, 48, 40)) * 4.0 - np.array([80, 96, 80]).reshape(3, 1, 1, 1)
    labels = np.zeros(x.shape, np.uint8)
    for tissue, half in (
        (Tissue.MUSCLE, (75, 90, 75)), (Tissue.BONE, (70, 85, 70)), (Tissue.FLUID, (64, 80, 64)),
        (Tissue.GREY, (60, 76, 60)), (Tissue.WHITE, (50, 66, 50)), (Tissue.VENTRICLE, (14, 30, 10)),
    ):  # fmt: skip
        labels[(x / half[0]) ** 2 + (y / half[1]) ** 2 + (z / half[2]) ** 2 <= 1] = tissue
    return LabelMap(name="ellipsoids", labels=labels, image=None, is_ct=False, weight=1.0)


@pytest.fixture(scope="module", autouse=True)
def public_heads(head):
    """That head instead of the public ones, which would have to be fetched."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(spans, "public_heads", lambda _: (head,))
        yield


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def run(public_heads, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "small.toml").write_text(CONFIG)
    arguments = [str(folder / "small.toml"), "-o", str(folder / "run"), "--cache", str(folder)]
    assert train.main(arguments) == 0
    return folder / "run"


def average(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)["average"]


def test_an_image_depends_on_its_seed_alone(head):
    heads = Heads([head], size=(32, 40, 32), spacing_mm=6.0)
    image, truth = heads(5)
    again, truth_again = heads(5)
    assert torch.equal(image, again)
    assert torch.equal(truth, truth_again)
    assert not torch.equal(image, heads(6)[0])
    assert image.shape == (1, 32, 40, 32)
    assert truth.shape == (3, 32, 40, 32)
    assert float(image.min()) >= 0 <= float(image.max()) <= 1


@pytest.mark.parametrize("seed", range(8))
def test_brain_and_ventricles_lie_within_the_skull(head, seed):
    _, (inside, brain, ventricles) = Heads([head], size=(32, 40, 32), spacing_mm=6.0)(seed)
    assert 0.005 < float(inside.mean()) < 0.6
    assert not (brain * (1 - inside)).any()
    assert not (ventricles * (1 - inside)).any()
    assert not (brain * ventricles).any()


def test_a_stopped_run_goes_on_as_if_nothing_had_happened(run, settings, tmp_path, monkeypatch):
    def stop(step, *_):
        raise KeyboardInterrupt

    other = tmp_path / "other"
    arguments = [str(settings), "-o", str(other), "--cache", str(tmp_path)]
    save = loop.save
    monkeypatch.setattr(loop, "save", lambda *a: (save(*a), stop(*a)))
    assert train.main(arguments) == 130  # after two steps of six
    monkeypatch.setattr(loop, "save", save)
    assert train.main(arguments) == 0
    whole, resumed = average(run), average(other)
    assert whole.keys() == resumed.keys()
    for name, weights in whole.items():
        assert torch.allclose(weights, resumed[name], atol=1e-6), name


def test_a_run_with_other_settings_is_not_continued(run, settings, tmp_path, capsys):
    settings.write_text(CONFIG.replace("seed = 4", "seed = 5"))
    assert train.main([str(settings), "-o", str(run), "--cache", str(tmp_path)]) == 2
    assert "other settings" in capsys.readouterr().err


def test_every_problem_of_the_settings_is_named(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(CONFIG.replace("steps = 3", "steps = 0").replace("seed = 4", "sede = 4"))
    with pytest.raises(SetupError) as error:
        read_config(path)
    assert "phases.0.steps" in str(error.value)
    assert "training.sede" in str(error.value)


def test_an_unknown_network_is_refused(settings, tmp_path, capsys):
    settings.write_text(CONFIG.replace('"UNet"', '"NoNet"'))
    assert train.main([str(settings), "-o", str(tmp_path / "r"), "--cache", str(tmp_path)]) == 2
    assert "no network 'NoNet'" in capsys.readouterr().err


@pytest.mark.parametrize("half", [False, True])
def test_an_export_says_what_the_network_says(run, tmp_path, half):
    manifest = tmp_path / "model.toml"
    manifest.write_text(MANIFEST)
    parity = export_onnx.export(run, manifest, tmp_path / "package", half=half)
    assert parity.largest < (5e-2 if half else 1e-4)
    package = read_package(tmp_path / "package")
    volume = volume_of(np.random.default_rng(1).random((30, 40, 26)), grid_of((30, 40, 26)))
    found = predict(package, volume, sessions=Sessions(threads=1), masks={})
    assert found.probability.shape == (1, 30, 40, 26)


def test_an_export_with_a_bad_manifest_is_refused(run, tmp_path):
    manifest = tmp_path / "model.toml"
    manifest.write_text(MANIFEST.replace('licence = "Apache-2.0"\n', ""))
    with pytest.raises(PackageInvalid, match="licence"):
        export_onnx.export(run, manifest, tmp_path / "package")


def test_the_history_is_one_line_every_twenty_steps(settings, tmp_path):
    settings.write_text(
        CONFIG.replace("steps = 3", "steps = 10").replace("[24, 32, 24]", "[16, 16, 16]")
    )
    folder = tmp_path / "long"
    assert train.main([str(settings), "-o", str(folder), "--cache", str(tmp_path)]) == 0
    (line,) = (folder / "history.jsonl").read_text().splitlines()
    assert json.loads(line)["step"] == 20
