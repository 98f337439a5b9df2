"""The shipped head model on real heads: MR it has not learnt from, and the demo's CT."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imaging.header import read_header
from imaging.read import load_volume
from imaging.stack import Stack, stacks_of
from imaging.volume import Volume
from models.catalog import install
from models.infer import predict
from models.interpret import Interpretation, interpret
from models.package import Package
from models.registry import Registry
from models.runtime import Sessions
from scripts.demo_studies import ct_study

_CT = Path("/usr/share/doc/invesalius-examples/examples/Cranium.inv3")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    folder = tmp_path_factory.mktemp("head")
    return install("head-structures", Registry(folder / "models"), folder / "cache")


@pytest.fixture(scope="module")
def head_ct(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    if not _CT.exists():
        pytest.skip("the Debian package invesalius-examples is not installed")
    study = ct_study(_CT, tmp_path_factory.mktemp("ct"))
    (stack,) = stacks_of([read_header(path) for path in study.paths])
    assert isinstance(stack, Stack)
    return load_volume(stack)


def read(package: Package, volume: Volume, sessions: Sessions) -> Interpretation:
    prediction = predict(package, volume, sessions=sessions, masks={})
    return interpret(prediction, package, volume, result_key="1.2", masks={})


def numbers(said: Interpretation) -> dict[str, float]:
    return {f"{f.concept.meaning}: {m.name.meaning}": m.value for f in said.findings
            for m in f.measurements}  # fmt: skip


def test_a_head_with_a_neck_is_outlined(package, philips, philips_brain, sessions):
    """A T1 that was not learnt from, down to the neck, beside the agreement of four methods."""
    said = read(package, philips, sessions)
    masks = {segment.label: segment.region.whole() for segment in said.segments}
    for label in ("Intracranial space", "Brain"):
        both = (masks[label] & philips_brain).sum()
        assert 2 * both / (masks[label].sum() + philips_brain.sum()) > 0.93, label
    assert not (masks["Brain"] & ~masks["Intracranial space"]).any()
    assert not (masks["Lateral ventricles"] & ~masks["Intracranial space"]).any()


def test_head_ct_is_measured(package, head_ct, sessions):
    said = read(package, head_ct, sessions)
    found = numbers(said)
    assert 1200 < found["Intracranial structure: Volume"] < 1700
    assert 30 < found["Lateral ventricle structure: Volume"] < 100
    assert 0.28 < found["Lateral ventricle structure: Evans index"] < 0.4
    assert not [f.statement for f in said.findings if f.abstained]
    assert all("Research use only" in f.statement for f in said.findings)


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_what_is_no_head_is_not_measured(package, head_ct, philips, sessions, modality):
    """Noise in the place of the head: every finding abstains."""
    head = head_ct if modality == "CT" else philips
    noise = np.random.default_rng(1).normal(40, 30, head.voxels.shape).astype(np.float32)
    said = read(package, replace(head, voxels=noise), sessions)
    assert not said.segments
    assert all(f.abstained for f in said.findings)


def test_inverted_contrast_is_not_measured(package, colin, sessions):
    said = read(package, replace(colin, voxels=colin.voxels.max() - colin.voxels), sessions)
    assert not said.segments
