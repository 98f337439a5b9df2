"""Models that read several series of one study at once."""

import numpy as np
import pytest

from tests.builders import mr_series, placed
from tests.models.networks import TOGETHER, difference
from tests.serving.bench import MODEL, SHAPE, Bench, ball, said

STUDY = {"StudyInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.4"}
T2_TIMING = {"RepetitionTime": "4000", "EchoTime": "90", "ScanningSequence": "SE"}


def t1(**header):
    return mr_series(SHAPE, voxels=ball(), SeriesInstanceUID="1.2.3.1", **STUDY, **header)


def t2(voxels=None, *, shape=SHAPE, affine=None, **header):
    header = {**STUDY, "SeriesInstanceUID": "1.2.3.2", **T2_TIMING, **header}
    voxels = np.full(shape, 400) if voxels is None else voxels
    return mr_series(shape, affine, voxels=voxels, **header)


@pytest.fixture
def together(make):
    bench = make()
    bench.install(TOGETHER, difference())
    return bench


def reasons(bench, study):
    """What was decided of each series."""
    decisions = bench.journal.decisions(study)
    return {d.series_uid: [why.code for why in d.reasons] for d in decisions if d.model == MODEL}


def test_two_series_of_a_study_are_read_as_one_image(together):
    """Only where T1 is bright and T2 is dark does the difference exceed the threshold."""
    dark = np.where(np.indices(SHAPE)[2] < 8, 0, 400)
    study = together.analysed([*t1(), *t2(dark)])
    assert reasons(together, study) == {"1.2.3.1": ["CHOSEN"], "1.2.3.2": ["READ_BESIDE"]}
    results = together.results(study)
    seg = together.dataset(results["SEG"])
    expected = (ball() > 500) & (dark == 0)
    assert np.array_equal(seg.pixel_array.astype(bool), [p for p in expected if p.any()])
    sr = together.dataset(results["SR"])
    evidence = [
        str(series.SeriesInstanceUID)
        for name in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
        for item in sr.get(name, ())
        for series in item.ReferencedSeriesSequence
    ]
    assert {"1.2.3.1", "1.2.3.2"} <= set(evidence)
    assert "series 1.2.3.2 was read too, as T2; it shows 100% of this one" in said(sr)


def test_another_matrix_is_brought_to_the_first_series(together):
    """The T2 slices are twice as coarse in their plane and dark in the half towards the left."""
    shape = (SHAPE[0], 8, 8)
    coarse = placed("axial", (1.0, 2.0, 2.0), origin_mm=(-39.5, -49.5, -30.0))
    dark = np.where(np.indices(shape)[2] < 4, 0, 400)
    study = together.analysed([*t1(), *t2(dark, shape=shape, affine=coarse)])
    seg = together.dataset(together.results(study)["SEG"])
    expected = (ball() > 500) & (np.indices(SHAPE)[2] < 8)
    assert np.array_equal(seg.pixel_array.astype(bool), [p for p in expected if p.any()])


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ([], "NO_SERIES_FOR_INPUT"),
        (t2(FrameOfReferenceUID="9.9"), "INPUT_ELSEWHERE"),
        (t2(affine=placed(origin_mm=(300.0, 0.0, 0.0))), "INPUT_ELSEWHERE"),
    ],
    ids=["no T2", "another frame of reference", "elsewhere in the patient"],
)
def test_a_model_that_lacks_an_input_does_not_read_and_says_why(together, other, why):
    study = together.analysed([*t1(), *other])
    assert reasons(together, study)["1.2.3.1"] == [why]
    assert set(together.results(study)) == {"NOTICE"}


def test_another_second_series_gives_results_of_their_own(tmp_path):
    found = []
    for uid in ("1.2.3.2", "1.2.3.9"):
        bench = Bench(tmp_path / uid)
        bench.install(TOGETHER, difference())
        study = bench.analysed([*t1(), *t2(np.zeros(SHAPE), SeriesInstanceUID=uid)])
        found.append({r.instance_uid for r in bench.results(study).values()})
    assert not found[0] & found[1]
