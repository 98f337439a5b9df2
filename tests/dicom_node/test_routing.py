from dataclasses import replace

import pytest
from pydicom import Dataset

from dicom_node.routing import DEFAULT_RULE, Candidate, Decision, Rule, Traits, decide, rule_for
from imaging.header import header_of
from imaging.needs import Need
from imaging.reasons import Reason
from imaging.stack import stacks_of
from tests.builders import ct_series, mr_series, placed

HEAD = Traits(
    modalities=frozenset({"MR"}),
    regions=frozenset({"HEAD"}),
    sender="SCANNER",
    description="MRT Schädel nativ",
)
MR = Need(modalities=("MR",))


def candidate(images: list[Dataset], uid: str = "1.2") -> Candidate:
    (part,) = stacks_of([header_of(image) for image in images])
    return Candidate(series_uid=uid, number=0, part=part)


def codes(decision: Decision) -> list[str]:
    return [reason.code for reason in decision.reasons]


def chosen(candidates: list[Candidate], need: Need = MR) -> list[str]:
    decisions = decide(candidates, {"m": need}, DEFAULT_RULE)
    assert len(decisions) == len(candidates)
    return [d.series_uid for d in decisions if d.chosen]


@pytest.mark.parametrize(
    ("conditions", "fits"),
    [
        ({}, True),
        ({"modalities": ("CT", "MR")}, True),
        ({"modalities": ("CT",)}, False),
        ({"regions": ("HEAD",)}, True),
        ({"regions": ("CHEST",)}, False),
        ({"senders": ("SCANNER",)}, True),
        ({"senders": ("PACS",)}, False),
        ({"description": "SCHÄDEL"}, True),
        ({"description": "^mrt.*nativ$"}, True),
        ({"description": "knie"}, False),
        ({"modalities": ("MR",), "senders": ("PACS",)}, False),
    ],
)
def test_a_rule_fits_when_all_its_conditions_do(conditions: dict[str, object], fits: bool) -> None:
    rule = Rule(name="r", **conditions)  # type: ignore[arg-type]
    assert rule_for([rule], HEAD) is (rule if fits else DEFAULT_RULE)


def test_the_first_rule_that_fits_decides() -> None:
    rules = [Rule(name=name, senders=(name,)) for name in ("PACS", "SCANNER")]
    rules += [Rule(name="all"), Rule(name="never")]
    assert rule_for(rules, HEAD).name == "SCANNER"
    assert rule_for(rules, replace(HEAD, sender="OTHER")).name == "all"
    assert rule_for([], HEAD) is DEFAULT_RULE


def test_a_rule_allows_all_some_or_no_models() -> None:
    assert DEFAULT_RULE.allows("any")
    assert Rule(name="r", models=("a",)).allows("a")
    assert not Rule(name="r", models=("a",)).allows("b")
    assert not Rule(name="r", models=()).allows("a")


def test_every_pair_of_series_and_model_gets_a_decision() -> None:
    candidates = [
        candidate(mr_series((4, 8, 8)), "1.1"),
        candidate(ct_series((4, 8, 8)), "1.2"),
        candidate(mr_series((2, 8, 8)), "1.3"),
    ]
    needs = {"mr": MR, "ct": Need(modalities=("CT",), min_slices=5)}
    decisions = decide(candidates, needs, DEFAULT_RULE)
    found = {(d.model, d.series_uid): (d.chosen, codes(d)) for d in decisions}
    assert found == {
        ("mr", "1.1"): (True, ["CHOSEN"]),
        ("mr", "1.2"): (False, ["MODALITY"]),
        ("mr", "1.3"): (False, ["FEW_SLICES"]),
        ("ct", "1.1"): (False, ["MODALITY", "FEW_SLICES"]),
        ("ct", "1.2"): (False, ["FEW_SLICES"]),
        ("ct", "1.3"): (False, ["FEW_SLICES"]),
    }
    assert all(reason.text for d in decisions for reason in d.reasons)


def test_a_forbidden_model_reads_nothing() -> None:
    rule = Rule(name="none", models=("other",))
    (decision,) = decide([candidate(mr_series((4, 8, 8)))], {"m": MR}, rule)
    assert (decision.chosen, codes(decision)) == (False, ["RULE"])


def test_an_incomplete_series_is_not_read() -> None:
    missing = Reason(code="INCOMPLETE", text="4 of 9")
    short = replace(candidate(mr_series((4, 8, 8)), "1.1"), shortfall=missing)
    whole = candidate(mr_series((4, 8, 8)), "1.2")
    first, second = decide([short, whole], {"m": MR}, DEFAULT_RULE)
    assert (first.chosen, first.reasons) == (False, (missing,))
    assert second.chosen


def test_the_finest_series_is_read_then_the_longest_then_the_first() -> None:
    def series(uid: str, mm: float, slices: int = 5) -> Candidate:
        return candidate(mr_series((slices, 8, 8), placed(spacing_mm=(mm, 1.0, 1.0))), uid)

    assert chosen([series("1.1", 5.0), series("1.2", 1.0), series("1.3", 2.0)]) == ["1.2"]
    assert chosen([series("1.1", 2.0), series("1.2", 2.0, slices=9)]) == ["1.2"]
    assert chosen([series("1.2", 2.0), series("1.1", 2.0)]) == ["1.1"]
    # Coarse within the slice counts as much as coarse between slices.
    coarse = candidate(mr_series((5, 8, 8), placed(spacing_mm=(1.0, 4.0, 4.0))), "1.1")
    assert chosen([coarse, series("1.2", 3.0)]) == ["1.2"]


def test_the_order_of_arrival_does_not_matter() -> None:
    series = [
        candidate(mr_series((5, 8, 8), placed(spacing_mm=(mm, 1.0, 1.0))), f"1.{n}")
        for n, mm in enumerate((3.0, 1.5, 1.5, 6.0))
    ]
    assert chosen(series) == chosen(series[::-1]) == ["1.1"]


def test_who_was_not_the_best_is_told() -> None:
    best = candidate(mr_series((9, 8, 8)), "1.1")
    other = candidate(mr_series((5, 8, 8)), "1.2")
    decisions = decide([best, other], {"m": MR}, DEFAULT_RULE)
    assert [codes(d) for d in decisions] == [["CHOSEN"], ["NOT_THE_BEST"]]
    assert "1.1" in decisions[1].reasons[0].text


def test_two_parts_of_one_series_are_told_apart() -> None:
    images = mr_series((5, 8, 8))
    localizer = mr_series((1, 8, 8), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    parts = stacks_of([header_of(image) for image in (*images, *localizer)])
    candidates = [Candidate(series_uid="1.2", number=n, part=p) for n, p in enumerate(parts)]
    decisions = decide(candidates, {"m": MR}, DEFAULT_RULE)
    assert [(d.stack, d.chosen, codes(d)) for d in decisions] == [
        (0, True, ["CHOSEN"]),
        (1, False, ["LOCALIZER"]),
    ]
