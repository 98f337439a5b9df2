from pathlib import Path

import pytest

from imaging.contrast import Contrast
from imaging.errors import PackageInvalid
from models.manifest_file import read_manifest

CATALOG = Path(__file__).parents[2] / "models" / "catalog"
NEEDS = """
orientations = ["axial"]
acquisitions = ["3D"]
echoes = ["gradient echo"]
kernels = ["soft"]
contrast = "no"
unit = "{SUVbw}g/ml"
max_slices = 400
min_spacing_mm = 0.5
min_coverage_mm = [120, 150, 100]
"""


def with_needs(lines: str, folder: Path) -> Path:
    text = (CATALOG / "brain_extraction.toml").read_text(encoding="utf-8")
    path = folder / "model.toml"
    path.write_text(text.replace("[needs]\n", f"[needs]\n{lines}"), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["brain_extraction", "brain_tumour_class"])
def test_the_shipped_cards_are_valid(name: str) -> None:
    needs = read_manifest(CATALOG / f"{name}.toml").needs
    assert (needs.modalities, needs.regions, needs.weightings) == (("MR",), ("HEAD",), ("T1",))
    assert (needs.contrast, needs.max_slices, needs.min_coverage_mm) == (Contrast.ANY, None, None)


def test_every_need_is_read(tmp_path: Path) -> None:
    needs = read_manifest(with_needs(NEEDS, tmp_path)).needs
    assert (needs.orientations, needs.acquisitions) == (("axial",), ("3D",))
    assert (needs.echoes, needs.kernels) == (("gradient echo",), ("soft",))
    assert (needs.contrast, needs.max_slices) == (Contrast.NO, 400)
    assert needs.unit == "{SUVbw}g/ml"
    assert (needs.min_spacing_mm, needs.min_coverage_mm) == (0.5, (120.0, 150.0, 100.0))


def test_a_misspelt_need_is_a_problem_not_a_model_that_never_runs(tmp_path: Path) -> None:
    wrong = 'orientations = ["transverse"]\nkernels = ["hard"]\ncontrast = "maybe"\n'
    with pytest.raises(PackageInvalid) as caught:
        read_manifest(with_needs(wrong, tmp_path))
    problems = str(caught.value).splitlines()
    assert problems[0].startswith("needs.orientations has transverse, not among axial, ")
    assert problems[1].startswith("needs.kernels has hard, not among soft, ")
    assert problems[2] == "needs.contrast is 'maybe', not one of any, yes, no"


def with_inputs(lines: str, folder: Path) -> Path:
    text = (CATALOG / "brain_extraction.toml").read_text(encoding="utf-8")
    path = folder / "model.toml"
    path.write_text(text.replace("[input]\n", f"{lines}\n[input]\n", 1), encoding="utf-8")
    return path


def test_each_input_has_what_needs_says_and_what_it_says_itself(tmp_path: Path) -> None:
    lines = """
[[inputs]]
name = "T1c"
contrast = "yes"
[[inputs]]
name = "FLAIR"
weightings = ["FLAIR"]
description = "dark.?fluid"
"""
    needs = read_manifest(with_inputs(lines, tmp_path)).needs
    (other,) = needs.others
    assert (needs.name, needs.contrast, needs.weightings) == ("T1c", Contrast.YES, ("T1",))
    assert (other.name, other.contrast, other.weightings) == ("FLAIR", Contrast.ANY, ("FLAIR",))
    assert (other.regions, other.description) == (("HEAD",), "dark.?fluid")


def test_inputs_that_cannot_be_told_apart_are_a_problem(tmp_path: Path) -> None:
    lines = '[[inputs]]\nname = "A"\ndescription = "("\n[[inputs]]\nname = "A"\nkernel = "x"\n'
    with pytest.raises(PackageInvalid) as caught:
        read_manifest(with_inputs(lines, tmp_path))
    said = str(caught.value)
    assert "inputs[0].description is no regular expression" in said
    assert "inputs[1].kernel is not known" in said
    assert "inputs has two of one name" in said
