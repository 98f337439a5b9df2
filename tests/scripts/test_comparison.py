"""A candidate passes only where it is shown not to be worse, in all cases and in every group."""

import numpy as np
import pytest

from models.evidence import Margins
from scripts.comparison import Both, compare

MARGINS = Margins(patients=20, group_patients=10)


def line(number: int, *, dice=None, probabilities=None, target=None, sex="F", **more):
    agreement = None if dice is None else {"dice": dice}
    outlined = [] if dice is None else [{"label": "Lesion", "agreement": agreement,
                                         "abstained": ""}]  # fmt: skip
    return {
        "id": f"c{number}", "patient": f"p{number}", "groups": {"sex": sex, "scanner": "S"},
        "outlined": outlined, "target": target, "probabilities": probabilities or {},
        "abstained": "", "failed": "", **more,
    }  # fmt: skip


def outlined(ours, theirs, sexes=None):
    sexes = sexes or ["F"] * len(ours)
    return [
        Both(line(i, dice=float(a), sex=s), line(i, dice=float(b), sex=s))
        for i, (a, b, s) in enumerate(zip(ours, theirs, sexes, strict=True))
    ]


def classified(ours, theirs, targets):
    def said(number, probability, target):
        pair = {"cyst": 1 - probability, "glioma": probability}
        return line(number, probabilities=pair, target=target)

    return [
        Both(said(i, a, t), said(i, b, t))
        for i, (a, b, t) in enumerate(zip(ours, theirs, targets, strict=True))
    ]


def row(outcome, measure, group="all"):
    (found,) = (r for r in outcome.rows if (r.measure, r.group) == (measure, group))
    return found


@pytest.fixture
def dice():
    return np.random.default_rng(7).uniform(0.7, 0.95, 40)


def test_the_same_answers_pass(dice):
    outcome = compare(outlined(dice, dice), MARGINS)
    assert outcome.refused == ()
    found = row(outcome, "Dice, Lesion")
    assert (found.gain, found.low, found.cases, found.patients) == (0, 0, 40, 40)
    assert {r.group for r in outcome.rows} == {"all", "sex: F", "scanner: S"}


def test_worse_outlines_are_refused_and_slightly_worse_ones_within_the_margin_pass(dice):
    assert compare(outlined(dice - 0.009, dice), MARGINS).refused == ()
    refused = compare(outlined(dice - 0.011, dice), MARGINS).refused
    assert any("all: Dice, Lesion" in why for why in refused)


def test_what_chance_may_explain_is_not_shown(dice):
    noise = np.random.default_rng(3).normal(0, 0.1, 40)
    outcome = compare(outlined(dice + noise - noise.mean(), dice), MARGINS)
    found = row(outcome, "Dice, Lesion")
    assert found.gain == pytest.approx(0, abs=1e-9)
    # the bound of a mean of 40 values with this spread
    assert found.low == pytest.approx(-1.645 * noise.std() / np.sqrt(40), rel=0.15)
    assert outcome.refused


def test_a_group_that_fares_worse_is_refused_though_all_together_gain(dice):
    sexes = ["M"] * 12 + ["F"] * 28
    ours = dice + np.where(np.asarray(sexes) == "M", -0.05, 0.05)
    outcome = compare(outlined(ours, dice, sexes), MARGINS)
    assert row(outcome, "Dice, Lesion").gain > 0
    assert [why for why in outcome.refused if why.startswith("sex: M: Dice")]
    assert len(outcome.refused) == 1


def test_a_group_of_few_is_told_but_not_judged(dice):
    sexes = ["M"] * 9 + ["F"] * 31
    ours = dice + np.where(np.asarray(sexes) == "M", -0.05, 0.05)
    outcome = compare(outlined(ours, dice, sexes), MARGINS)
    assert outcome.refused == ()
    assert not row(outcome, "Dice, Lesion", "sex: M").judged


def test_too_few_patients_show_nothing(dice):
    (why,) = compare(outlined(dice[:19], dice[:19]), MARGINS).refused
    assert "19 patients, 20 are needed" in why
    twice = [Both({**b.candidate, "patient": "p"}, {**b.served, "patient": "p"})
             for b in outlined(dice, dice)]  # fmt: skip
    assert any("1 patients" in why for why in compare(twice, MARGINS).refused)


def test_who_abstains_or_fails_more_is_refused(dice):
    for change in ({"failed": "INFERENCE_FAILED"}, {"abstained": "VOLUME"}):
        cases = outlined(dice, dice)
        silent = {**cases[0].candidate, "outlined": [], **change}
        cases[0] = Both(silent, cases[0].served)
        outcome = compare(cases, MARGINS)
        assert outcome.silent == {"candidate": 1, "served": 0}
        assert any("no full answer to 1 cases" in why for why in outcome.refused)
        both = [Both(silent, {**silent, "groups": silent["groups"]}), *cases[1:]]
        assert compare(both, MARGINS).refused == ()


def test_a_structure_or_class_that_is_missing_is_refused(dice):
    cases = [Both({**b.candidate, "outlined": []}, b.served) for b in outlined(dice, dice)]
    refused = compare(cases, MARGINS).refused
    assert "the candidate says nothing of Lesion" in refused
    assert "no case has an answer of both versions" in refused


def test_classes_are_compared_by_log_loss_and_auroc():
    targets = ["glioma", "cyst"] * 20
    good = [0.9, 0.2] * 20
    outcome = compare(classified(good, good, targets), MARGINS)
    assert outcome.refused == ()
    assert row(outcome, "AUROC, glioma").candidate == 1
    expected = -(np.log(0.9) + np.log(0.8)) / 2
    assert row(outcome, "log loss").candidate == pytest.approx(expected)
    unsure = compare(classified([0.6, 0.4] * 20, good, targets), MARGINS)
    assert any("log loss" in why for why in unsure.refused)
    assert row(unsure, "AUROC, glioma").gain == 0
    turned = compare(classified([0.9, 0.2] * 14 + [0.2, 0.9] * 6, good, targets), MARGINS)
    assert any("AUROC, glioma" in why for why in turned.refused)


def test_a_sure_mistake_costs_much_and_not_without_end():
    targets = ["glioma", "cyst"] * 20
    outcome = compare(classified([0.0, 0.2] * 20, [0.9, 0.2] * 20, targets), MARGINS)
    assert row(outcome, "log loss").candidate == pytest.approx((9.21 - np.log(0.8)) / 2, abs=0.01)


def test_a_rare_class_is_told_but_not_judged_by_auroc():
    targets = ["glioma"] * 3 + ["cyst"] * 37
    good = [0.9] * 3 + [0.2] * 37
    found = row(compare(classified(good, good, targets), MARGINS), "AUROC, glioma")
    assert (found.patients, found.judged) == (3, False)
