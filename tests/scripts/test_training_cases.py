"""From readers' verdicts to a network: it learns the outline, is exported, and serves."""

import json
from pathlib import Path

import pytest
import torch

from scripts import export_onnx, train
from scripts.dataset_files import Dataset, load, save
from scripts.evaluate import evaluate
from scripts.training.provenance import read_provenance
from tests.models.networks import SEGMENTATION
from tests.scripts.test_build_dataset import ACCEPTED, Site, built, images

CONFIG = """
start = ""
[data]
kind = "dataset"
dataset = "{folder}/set"
package = "{folder}/package"
[network]
name = "UNet"
[network.arguments]
spatial_dims = 3
in_channels = 1
out_channels = 1
channels = [4, 8]
strides = [2]
[[phases]]
steps = 150
size = [16, 16, 16]
[training]
learning_rate = 2e-2
averaging = 0.9
seed = 1
workers = 0
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two patients to train on, settings, and the card of the package."""
    folder = tmp_path_factory.mktemp("training")
    site = Site(folder)
    site.install()
    for name in ("Anton", "Berta"):
        site.assessed(images(name), ACCEPTED)
    built(site, folder, "--test", "0", "--validation", "0")
    (folder / "settings.toml").write_text(CONFIG.format(folder=folder))
    assert train.main([str(folder / "settings.toml"), "-o", str(folder / "run")]) == 0
    return folder


def test_a_network_learns_what_readers_accepted(made, tmp_path):
    manifest = tmp_path / "model.toml"
    windows = 'mode = "sliding_window"\npatch = [16, 16, 16]\nactivation = "sigmoid"'
    manifest.write_text(SEGMENTATION.replace('mode = "whole"', windows))
    export_onnx.export(made / "run", manifest, tmp_path / "package")
    report, _ = evaluate(tmp_path / "package", made / "set", split="train", device="cpu")
    assert report["figures"]["Dice, Tissue"]["all"]["value"] > 0.8


def test_the_package_says_what_it_learnt_from(made, tmp_path):
    dataset = load(made / "set")
    patients = {case.patient for case in dataset.cases}
    learnt = read_provenance(made / "run")
    assert learnt.dataset == dataset.version
    assert set(learnt.patients) == patients
    assert json.loads((made / "run" / "provenance.json").read_text())["start"] is None


def test_another_run_begins_with_its_weights(made, tmp_path):
    settings = tmp_path / "more.toml"
    text = CONFIG.format(folder=made).replace("steps = 150", "steps = 1")
    settings.write_text(text.replace('start = ""', f'start = "{made}/run/checkpoint.pt"'))
    assert train.main([str(settings), "-o", str(tmp_path / "more")]) == 0
    assert read_provenance(tmp_path / "more").start == read_provenance(made / "run")
    first = torch.load(made / "run" / "checkpoint.pt", weights_only=True)["average"]
    more = torch.load(tmp_path / "more" / "checkpoint.pt", weights_only=True)["average"]
    assert all(torch.allclose(first[name], more[name], atol=0.1) for name in first)


def test_a_changed_data_set_does_not_go_on_silently(made, tmp_path, capsys):
    other = tmp_path / "set"
    other.symlink_to(made / "set")
    settings = tmp_path / "settings.toml"
    settings.write_text(CONFIG.format(folder=made).replace(f"{made}/set", str(other)))
    arguments = [str(settings), "-o", str(tmp_path / "run")]
    settings.write_text(settings.read_text().replace("steps = 150", "steps = 1"))
    assert train.main(arguments) == 0
    other.unlink()
    other.mkdir()
    dataset = load(made / "set")
    save(other, dataset.model_copy(update={"name": "another"}))
    assert train.main(arguments) == 2
    assert "another version" in capsys.readouterr().err


def test_a_data_set_without_cases_to_train_on_is_refused(made, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    save(empty, Dataset(name="empty", cases=()))
    settings = tmp_path / "settings.toml"
    settings.write_text(CONFIG.format(folder=made).replace(f"{made}/set", str(empty)))
    assert train.main([str(settings), "-o", str(tmp_path / "run")]) == 2
    assert "no case to train on" in capsys.readouterr().err
