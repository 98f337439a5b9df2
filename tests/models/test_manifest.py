from importlib.resources import files

import pytest

from imaging.codes import BRAIN
from imaging.errors import PackageInvalid
from models.manifest import Mode, Scaling, Sizing, Task
from models.manifest_file import read_manifest
from tests.models.networks import CLASSIFICATION, SEGMENTATION


@pytest.fixture
def manifest_of(tmp_path):
    def read(text):
        path = tmp_path / "model.toml"
        path.write_text(text, encoding="utf-8")
        return read_manifest(path)

    return read


def problems_of(manifest_of, text):
    with pytest.raises(PackageInvalid) as caught:
        manifest_of(text)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("text", [SEGMENTATION, CLASSIFICATION])
def test_a_plain_manifest_is_read(manifest_of, text):
    assert manifest_of(text).needs.modalities == ("MR",)


@pytest.mark.parametrize("name", ["brain_extraction", "brain_tumour_class"])
def test_the_shipped_manifests_are_read(manifest_of, name):
    text = files("models.catalog").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    manifest = manifest_of(text)
    assert manifest.name == name.replace("_", "-")
    assert "Research use only" in manifest.intended_use
    assert manifest.site == BRAIN
    assert manifest.evaluation


def test_values_arrive_in_their_types(manifest_of):
    manifest = manifest_of(CLASSIFICATION)
    assert manifest.task is Task.CLASSIFICATION
    assert manifest.inference.mode is Mode.SLICES
    assert manifest.input.sizing is Sizing.STRETCH
    assert manifest.input.size == (1, 8, 8)
    assert manifest.input.intensity.scaling is Scaling.MAXIMUM
    assert [item.label for item in manifest.classes] == ["Dark", "Bright"]
    assert manifest.checks.min_slices == 2


def test_every_problem_is_named_at_once(manifest_of):
    text = (
        SEGMENTATION.replace('version = "1.0"\n', "")
        .replace('axes = "RAS"', 'axes = "RAL"')
        .replace('mode = "whole"', 'mode = "hole"')
        .replace("number = 1", 'number = "one"')
        .replace('scaling = "maximum"', 'scaling = "maximum"\nuper = 2')
        .replace("cielab = [50.0, 0.0, 0.0]", "cielab = [50.0, 0.0]")
        .replace('site = ["69536005", "SCT", "Head"]', 'site = "head"')
    )
    found = problems_of(manifest_of, text)
    for place in ("model.version", "input.axes", "inference.mode", "labels[0].number",
                  "input.intensity.uper", "labels[0].cielab", "model.site"):  # fmt: skip
        assert any(problem.startswith(f"{place} ") for problem in found), (place, found)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('task = "segmentation"', 'task = "classification"', "needs [[classes]]"),
        ("number = 1", "number = 2", "numbered 1, 2, 3"),
        ('axes = "RAS"', 'axes = "RAS"\nsizing = "pad"', "sizing needs input.size"),
        ('mode = "whole"', 'mode = "sliding_window"', "needs inference.patch"),
        ('mode = "whole"', 'mode = "whole"\ngate = "other"', "gate must be in model.uses"),
        ('"maximum"', '"range"\nlower = 5\nupper = 4', "upper must be above lower"),
        ('"maximum"', '"maximum"\nCT = {scaling = "none"}', "not in needs.modalities"),
        ('"maximum"', '"maximum"\nMR = {scaling = "range", lower = 5}', "must be above lower"),
        ('name = "bright-tissue"', 'name = "../up"', "model.name is not allowed"),
        ('source = "made in code"', 'source = "x"\nfile = "../../etc/passwd"', "model.file"),
    ],
)
def test_contradictions_are_problems(manifest_of, old, new, problem):
    assert old in SEGMENTATION
    found = problems_of(manifest_of, SEGMENTATION.replace(old, new))
    assert any(problem in line for line in found), found


def test_what_is_not_toml_is_a_problem(manifest_of):
    assert "cannot be read" in problems_of(manifest_of, "[model")[0]


def test_a_missing_file_is_a_problem(tmp_path):
    with pytest.raises(PackageInvalid, match="cannot be read"):
        read_manifest(tmp_path / "model.toml")
