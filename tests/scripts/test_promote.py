"""The gate: a candidate is measured beside the served version, and promoted only when it passes."""

import json
import sys
from pathlib import Path

import onnx
import pytest

from dicom_node.audit.kinds import Kind
from imaging.errors import Conflict
from models.evidence import Evidence
from models.stages import By, Stage
from scripts import evaluate as evaluation
from scripts import promote
from scripts.dataset_files import load
from scripts.training.provenance import Provenance
from serving.__main__ import main as wetread
from serving.parts import Parts
from serving.settings import load as load_settings
from tests.models.networks import SEGMENTATION, published, segmenter, write_package
from tests.scripts.test_build_dataset import ACCEPTED, NOT_THERE, Site, built, images

NAME = "bright-tissue"


def _coarse() -> onnx.ModelProto:
    """A network whose outlines are one voxel too large."""
    node = onnx.helper.make_node(
        "MaxPool", ["x"], ["y"], kernel_shape=[3] * 3, pads=[1] * 6, strides=[1] * 3
    )
    return published([node], [None] * 5, [None] * 5)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("locked")
    site = Site(folder)
    site.install()
    for name in ("Anton", "Berta"):
        site.assessed(images(name), ACCEPTED)
    site.assessed(images("Caesar"), NOT_THERE)
    built(site, folder, "--test", "1")
    return folder / "set"


class Shop:
    """An installation with a served version and a candidate, and its command line."""

    def __init__(self, folder: Path, dataset: Path) -> None:
        self.folder, self.dataset, self.file = folder, dataset, folder / "wetread.toml"
        self.file.write_text(
            'data_folder = "data"\n[promotion]\npatients = 2\ngroup_patients = 2\n'
        )
        self.registry = Parts(load_settings(self.file)).registry
        self.served = self.registry.add(self.source("1.0")).digest

    def source(self, version: str, network: onnx.ModelProto | None = None) -> Path:
        manifest = SEGMENTATION.replace('version = "1.0"', f'version = "{version}"')
        return write_package(self.folder / version, manifest, network or segmenter())

    def candidate(self, network: onnx.ModelProto | None = None, **provenance: object) -> str:
        source = self.source("1.1", network)
        if provenance:
            text = Provenance.model_validate(provenance).model_dump_json()
            (source / "provenance.json").write_text(text)
        return self.registry.add(source, Stage.CANDIDATE).digest

    def compare(self, digest: str, *more: object) -> int:
        arguments = [NAME, digest[:10], "--dataset", self.dataset, "--settings", self.file]
        return promote.main([*map(str, [*arguments, "--device", "cpu", *more])])

    def promote(self, *more: str) -> int:
        return wetread(["--settings", str(self.file), "models", "promote", *more])

    @property
    def serves(self) -> str:
        return self.registry.get(NAME).manifest.version

    def report(self, candidate: str) -> Evidence:
        (path,) = self.registry.folder.glob(f"{NAME}@{candidate[:12]}+*.json")
        return Evidence.model_validate_json(path.read_text())

    def trail(self) -> str:
        records = Parts(load_settings(self.file)).audit_chain.records()
        return "".join(r.message for r in records if r.event == Kind.MODEL_CHANGED.name)


@pytest.fixture
def shop(tmp_path: Path, dataset: Path) -> Shop:
    return Shop(tmp_path, dataset)


def test_a_candidate_that_is_not_worse_is_promoted_and_the_report_is_kept(shop, capsys):
    digest = shop.candidate()
    assert shop.promote(f"{NAME}@1.1") == 1
    assert f"python -m scripts.promote {NAME} {digest[:12]}" in capsys.readouterr().err
    Parts(load_settings(shop.file)).index  # noqa: B018 - from here on there is an audit trail
    assert shop.compare(digest, "--why", "better training") == 0
    assert shop.serves == "1.1"
    report = shop.report(digest)
    assert (report.candidate, report.served, report.cases) == (digest, shop.served, 3)
    assert report.dataset_version == load(shop.dataset).version
    assert report == report.sealed()
    last = shop.registry.history(NAME)[-1]
    assert (last.action, last.why, last.evidence) == ("promote", "better training", report.digest)
    (page,) = shop.registry.folder.glob("*.html")
    assert "Passed" in page.read_text()
    assert "does not say whom it learnt from" in page.read_text()
    assert report.digest in shop.trail()
    shop.registry.rollback(NAME, By())
    assert shop.serves == "1.0"
    assert shop.promote(f"{NAME}@1.1") == 0  # the report still holds


def test_a_worse_candidate_is_refused_with_every_reason(shop, capsys):
    digest = shop.candidate(_coarse())
    assert shop.compare(digest) == 1
    said = capsys.readouterr().err
    assert "refused: all: Dice, Tissue" in said
    assert "refused: sex: F: Dice, Tissue" in said
    assert shop.serves == "1.0"
    assert shop.promote(f"{NAME}@1.1") == 1
    assert "all: Dice, Tissue" in capsys.readouterr().err
    assert shop.serves == "1.0"


def test_one_that_learnt_from_test_patients_is_refused(shop, capsys):
    patient = load(shop.dataset).cases[0].patient
    digest = shop.candidate(start={"patients": [patient]}, patients=["somebody"])
    assert shop.compare(digest) == 1
    assert "learnt from 1 of the 3 test patients" in capsys.readouterr().err
    assert shop.serves == "1.0"


def test_too_few_patients_are_refused_and_other_margins_need_a_new_report(shop, capsys):
    digest = shop.candidate()
    shop.file.write_text('data_folder = "data"\n[promotion]\npatients = 4\n')
    assert shop.compare(digest) == 1
    assert "3 patients, 4 are needed" in capsys.readouterr().err
    shop.file.write_text('data_folder = "data"\n[promotion]\npatients = 2\n')
    assert shop.promote(f"{NAME}@1.1") == 1
    assert "other margins" in capsys.readouterr().err


def test_only_the_locked_data_set_counts(shop, capsys):
    digest = shop.candidate()
    kept = shop.file.read_text()
    shop.file.write_text(f'{kept}locked = {{ {NAME} = "{"0" * 64}" }}\n')
    assert shop.compare(digest) == 2
    assert "is locked" in capsys.readouterr().err
    shop.file.write_text(kept)
    assert shop.compare(digest) == 0
    shop.registry.rollback(NAME, By())
    shop.file.write_text(f'{kept}locked = {{ {NAME} = "{"0" * 64}" }}\n')
    assert shop.promote(f"{NAME}@1.1") == 1
    assert "another data set" in capsys.readouterr().err


def test_a_changed_data_set_or_report_does_not_count(shop, tmp_path, capsys):
    digest = shop.candidate(_coarse())
    assert shop.compare(digest) == 1
    (path,) = shop.registry.folder.glob("*.json")
    report = json.loads(path.read_text())
    path.write_text(json.dumps({**report, "refused": []}))
    assert shop.promote(f"{NAME}@1.1") == 1
    assert "was altered" in capsys.readouterr().err
    label = shop.dataset / str(load(shop.dataset).cases[0].label)
    content = label.read_bytes()
    try:
        label.write_bytes(content + b"\0")
        assert shop.compare(digest) == 2
        assert "was changed" in capsys.readouterr().err
    finally:
        label.write_bytes(content)
    assert shop.serves == "1.0"


def test_figures_that_were_stored_are_taken_unless_they_were_altered(
    shop, tmp_path, monkeypatch, capsys
):
    digest = shop.candidate(_coarse())
    stored = {}
    for name, package in (("candidate", "1.1"), ("served", "1.0")):
        arguments = [str(tmp_path / package), str(shop.dataset), "-o", str(tmp_path / name)]
        monkeypatch.setattr(sys, "argv", ["evaluate", *arguments, "--device", "cpu"])
        assert evaluation.main() == 0
        stored[name] = tmp_path / name / "report.json"
    given = ["--candidate-report", stored["candidate"], "--served-report", stored["served"]]
    capsys.readouterr()
    assert shop.compare(digest, *given) == 1
    said = capsys.readouterr()
    assert "1/3" not in said.out  # nothing was run again
    assert "all: Dice, Tissue" in said.err
    assert shop.compare(digest, *given[:2], "--served-report", stored["candidate"]) == 2
    assert "model_digest" in capsys.readouterr().err
    text = stored["candidate"].read_text()
    stored["candidate"].write_text(text.replace('"dice": 0.0', '"dice": 1.0'))
    assert shop.compare(digest, *given) == 2
    assert "its digest differ" in capsys.readouterr().err


def test_an_administrator_may_do_without_and_that_is_on_record(shop, capsys):
    shop.candidate(_coarse())
    Parts(load_settings(shop.file)).index  # noqa: B018 - from here on there is an audit trail
    assert shop.promote(f"{NAME}@1.1", "--without-evidence", " ") == 1
    assert shop.serves == "1.0"
    assert shop.promote(f"{NAME}@1.1", "--without-evidence", "the old one is withdrawn") == 0
    last = shop.registry.history(NAME)[-1]
    assert (last.evidence, last.why) == ("none", "the old one is withdrawn")
    assert "without evidence: the old one is withdrawn" in shop.trail()


def test_no_way_leads_round_the_gate(shop, capsys):
    source = shop.source("1.1", _coarse())
    given = ["--settings", str(shop.file), "models"]
    assert wetread([*given, "add", str(source), "--as", "served"]) == 1
    assert shop.serves == "1.0"
    assert wetread([*given, "retire", f"{NAME}@1.0"]) == 0
    assert shop.promote(f"{NAME}@1.1") == 1
    assert wetread([*given, "add", str(shop.source("1.2", _coarse()))]) == 0
    stages = {v.version: v.stage for v in shop.registry.versions(NAME)}
    assert stages["1.2"] is Stage.CANDIDATE
    assert wetread([*given, "remove", f"{NAME}@1.0"]) == 0
    assert shop.promote(f"{NAME}@1.1") == 1  # nothing to compare with is no evidence


def test_a_first_version_and_one_that_was_retired_need_no_report(shop):
    digest = shop.served
    shop.registry.retire(NAME, digest, By())
    assert shop.promote(f"{NAME}@1.0") == 0
    shop.registry.remove(NAME)
    assert not list(shop.registry.folder.iterdir())
    shop.candidate()
    assert shop.promote(f"{NAME}@1.1") == 0
    with pytest.raises(Conflict):
        shop.registry.promote(NAME, "1.1", By(), gate=None)
