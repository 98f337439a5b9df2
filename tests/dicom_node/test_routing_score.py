from dataclasses import replace

import pytest

from dicom_node.routing import Candidate, Decision, Rule, Traits, decide, rule_for
from imaging.contrast import Contrast
from imaging.header import header_of
from imaging.needs import Need
from imaging.reasons import reason
from imaging.score import score
from imaging.stack import Stack, stacks_of
from tests.builders import ct_series, mr_series, placed

NEED = Need(modalities=("CT",), regions=("HEAD",), max_spacing_mm=6.0)


def ct(series_uid: str, *, apart_mm: float = 1.0, slices: int = 10, **header: object) -> Candidate:
    images = ct_series((slices, 8, 8), placed("axial", (apart_mm, 1.0, 1.0)), **header)
    (part,) = stacks_of([header_of(image) for image in images])
    return Candidate(series_uid=series_uid, number=0, part=part)


def chosen(*candidates: Candidate, need: Need = NEED) -> list[Decision]:
    return list(decide(candidates, {"model": need}, Rule(name="all")))


def test_every_series_gets_a_decision_with_reasons() -> None:
    mr = mr_series((10, 8, 8))
    (part,) = stacks_of([header_of(image) for image in mr])
    late = replace(ct("1.3"), shortfall=reason("INCOMPLETE", have=3, expected=10))
    (single,) = stacks_of([header_of(mr[0])])
    decisions = chosen(
        ct("1.1"),
        Candidate(series_uid="1.2", number=0, part=part),
        late,
        Candidate(series_uid="1.4", number=0, part=single),
    )
    assert [d.reasons[0].code for d in decisions] == [
        "CHOSEN",
        "MODALITY",
        "INCOMPLETE",
        "SINGLE_IMAGE",
    ]
    assert [d.chosen for d in decisions] == [True, False, False, False]


def test_the_losers_know_their_score_and_who_won() -> None:
    coarse, fine = ct("1.1", apart_mm=5.0), ct("1.2", apart_mm=1.5)
    first, second = chosen(coarse, fine)
    assert (first.chosen, second.chosen) == (False, True)
    assert isinstance(coarse.part, Stack)
    assert isinstance(fine.part, Stack)
    assert dict(first.reasons[0].numbers) == {
        "score": score(coarse.part),
        "best_score": score(fine.part),
        "series": "1.2",
        "stack": 0,
    }
    assert dict(second.reasons[0].numbers) == {"score": score(fine.part)}


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"apart_mm": 1.0}, {"apart_mm": 1.2}),
        ({"apart_mm": 1.0, "slices": 40}, {"apart_mm": 1.0, "slices": 39}),
        ({}, {"ImageType": ["DERIVED", "SECONDARY", "MPR"]}),
        ({}, {"LossyImageCompression": "01"}),
        ({}, {"BodyPartExamined": "", "StudyDescription": "Head"}),
        ({"SeriesNumber": 3}, {"SeriesNumber": 4}),
        ({"SeriesNumber": 3}, {"SeriesNumber": None}),
    ],
)
def test_what_makes_a_series_better(better: dict[str, object], worse: dict[str, object]) -> None:
    for order in (1, -1):
        good, bad = ct("1.9", **better), ct("1.1", **worse)
        decisions = chosen(*(good, bad)[::order])
        assert [d.series_uid for d in decisions if d.chosen] == ["1.9"]


def test_equal_series_are_told_apart_by_their_uid_whatever_their_order() -> None:
    one, two = ct("1.1"), ct("1.2")
    assert [d.series_uid for d in chosen(one, two) if d.chosen] == ["1.1"]
    assert [d.series_uid for d in chosen(two, one) if d.chosen] == ["1.1"]


def test_scores_lie_between_0_and_100() -> None:
    best = ct("1.1", apart_mm=1.0, slices=200).part
    worst = ct(
        "1.2",
        apart_mm=5.9,
        slices=3,
        ImageType=["DERIVED", "SECONDARY", "MIP"],
        LossyImageCompression="01",
    ).part
    assert isinstance(best, Stack)
    assert isinstance(worst, Stack)
    assert 0 <= score(worst) < 25 < score(best) <= 100


def test_a_series_is_chosen_by_what_it_is_not_by_its_order() -> None:
    native = ct("1.1", SeriesDescription="Schädel nativ")
    given = ct("1.2", SeriesDescription="Schädel mit KM")
    need = replace(NEED, contrast=Contrast.YES)
    assert [d.reasons[0].code for d in chosen(native, given, need=need)] == ["CONTRAST", "CHOSEN"]


def test_a_rule_that_does_not_let_a_model_run() -> None:
    rule = Rule(name="chest only", models=("other",))
    (decision,) = decide([ct("1.1")], {"model": NEED}, rule)
    assert decision.reasons[0].text == "rule 'chest only' does not let model run"


def test_rules_look_at_every_region_of_a_study() -> None:
    rule = Rule(name="neck", regions=("NECK",))
    traits = Traits(
        modalities=frozenset({"CT"}),
        regions=frozenset({"HEAD", "NECK"}),
        sender="PACS",
        description="",
    )
    assert rule_for([rule], traits) is rule
    assert rule_for([rule], replace(traits, regions=frozenset({"HEAD"}))).name == "default"
