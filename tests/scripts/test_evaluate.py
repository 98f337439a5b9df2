"""A model is measured on a data set by the code that serves it."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from imaging.errors import SetupError
from models.package import read_package
from scripts.dataset_files import Case, Dataset, Provenance, load
from scripts.evaluate import evaluate, main, report_on
from scripts.evaluation_run import Answered
from tests.models.networks import SEGMENTATION, TOGETHER, segmenter, write_package
from tests.scripts.test_build_dataset import ACCEPTED, NOT_THERE, Site, built, images


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated")
    site = Site(folder)
    site.install()
    site.assessed(images("Anton"), ACCEPTED)
    site.assessed(images("Berta"), NOT_THERE)
    built(site, folder, "--test", "1")
    return folder


def test_accepted_outlines_agree_and_what_is_not_there_is_the_worst(made, tmp_path, monkeypatch):
    arguments = [str(made / "package"), str(made / "set"), "-o", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["evaluate", *arguments, "--device", "cpu"])
    assert main() == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["dataset_version"] == load(made / "set").version
    assert (report["cases"], report["answered"], report["failed"]) == (2, 2, {})
    dice = report["figures"]["Dice, Tissue"]
    assert dice["all"]["value"] == pytest.approx(0.5)  # 1 where accepted, 0 where rejected
    assert {"sex: F", "age_band: 50-59"} <= dice.keys()
    worst = [case["outlined"][0]["agreement"]["dice"] for case in report["per_case"]]
    assert worst == [0.0, 1.0]
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "<svg" in page
    assert "http" not in page


def test_abstentions_and_failures_are_counted(made, tmp_path):
    doubting = SEGMENTATION + "\n[checks]\nvolume_ml = [1000.0, 2000.0]\n"
    package = write_package(tmp_path / "doubting", doubting, segmenter())
    report, _ = evaluate(package, made / "set", split="test", device="cpu")
    assert report["answered"] == 0
    assert sum(report["abstained"].values()) == 2
    assert report["figures"] == {}


def test_a_package_that_reads_several_series_is_not_measured_wrongly(made, tmp_path):
    package = write_package(tmp_path / "two", TOGETHER, segmenter())
    with pytest.raises(SetupError, match="several series"):
        evaluate(package, made / "set", split="test", device="cpu")


def test_a_split_without_cases_is_said(made, monkeypatch, capsys):
    arguments = [str(made / "package"), str(made / "set"), "-o", "x", "--split", "train"]
    monkeypatch.setattr(sys, "argv", ["evaluate", *arguments])
    assert main() == 2
    assert "no case to train" in capsys.readouterr().err


def test_classes_have_auroc_sensitivity_and_calibration(made):
    package = read_package(made / "package")
    names, cases = ("cyst", "glioma"), []
    for number, (target, sure) in enumerate(
        [("cyst", 0.1), ("cyst", 0.6), ("glioma", 0.9), ("glioma", 0.7)]
    ):
        case = Case(id=f"c{number}", patient=f"p{number}", image="i", target=target, split="test",
                    provenance=Provenance(verdict="accepted"), files={"i": ""})  # fmt: skip
        cases.append(Answered(case=case, probabilities={"cyst": 1 - sure, "glioma": sure}))
    dataset = Dataset(name="x", targets=names, cases=tuple(c.case for c in cases))
    report = report_on(package, dataset, cases, split="test")
    figures = {name: rows["all"]["value"] for name, rows in report["figures"].items()}
    assert figures["AUROC, glioma"] == 1
    assert figures["sensitivity, glioma"] == 1
    assert figures["specificity, glioma"] == 0.5
    assert figures["accuracy"] == 0.75
    assert figures["Brier score"] == pytest.approx(2 * np.mean([0.01, 0.36, 0.01, 0.09]))
    assert report["reliability"]
