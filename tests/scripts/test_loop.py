"""The parts of the loop from corrections to a better model; the loop itself is a demonstration."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from scripts import loop_demo
from scripts.loop.phantoms import Phantom, phantom
from scripts.loop.reader import corrected, is_right
from serving.worker import build_recogniser
from tests.serving.bench import Bench
from tests.serving.test_api import close


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, Phantom, str]:
    """A phantom read by a model that outlines all that is bright; the truth lies beside that."""
    folder = tmp_path_factory.mktemp("loop")
    made = phantom(3, "Beta", folder / "study")
    bench = Bench(folder)
    bench.install()
    study_uid = bench.analysed([dcmread(path) for path in made.study.paths])
    close(bench, study_uid)
    return bench, replace(made, truth=np.roll(made.truth, 3, axis=2)), study_uid


def outlined(read: tuple[Bench, Phantom, str]) -> Dataset:
    bench, _, study_uid = read
    return bench.dataset(bench.results(study_uid)["SEG"])


def test_the_same_patient_gives_the_same_study(tmp_path: Path):
    first, again = (phantom(7, "Alpha", tmp_path / name) for name in "ab")
    for one, other in zip(first.study.paths, again.study.paths, strict=True):
        assert one.read_bytes() == other.read_bytes()
    np.testing.assert_array_equal(first.truth, again.truth)
    assert phantom(8, "Alpha", tmp_path / "c").study.study_uid != first.study.study_uid


def test_the_reader_draws_what_is_right(read):
    _, made, _ = read
    ours = outlined(read)
    assert is_right(ours, replace(made, truth=np.roll(made.truth, -3, axis=2)))
    assert not is_right(ours, made)
    drawn = dcmread(BytesIO(corrected(ours, made)))
    assert is_right(drawn, made)
    assert drawn.SOPInstanceUID != ours.SOPInstanceUID


def test_what_the_reader_stored_is_a_correction_of_the_finding(read):
    bench, made, study_uid = read
    bench.receive([dcmread(BytesIO(corrected(outlined(read), made)))], sender="STOW-RS")
    build_recogniser(bench.parts).look()
    (said,) = bench.parts.assessments.history(study_uid)
    assert said.verdict.value == "corrected"


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path, capsys):
    assert loop_demo.main(["--folder", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
