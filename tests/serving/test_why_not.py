from dicom_node.routing import Candidate, Rule
from imaging.header import header_of
from imaging.needs import Need
from imaging.reasons import reason
from imaging.stack import stacks_of
from serving.studies import series_candidates, why_not
from tests.builders import mr_series, placed

ALL = Rule(name="all")
FLAIR = Need(modalities=("MR",), regions=("HEAD",), weightings=("FLAIR",), min_slices=20)
CHEST_CT = Need(modalities=("CT",), regions=("CHEST",), kernels=("lung",), min_slices=30)


def candidates(slices: int = 10, *, drop: int | None = None) -> tuple[Candidate, ...]:
    images = mr_series((slices, 8, 8), placed("axial", (2.0, 1.0, 1.0)))
    kept = [image for number, image in enumerate(images) if number != drop]
    return series_candidates([header_of(image) for image in kept])


def codes(found: tuple[Candidate, ...], needs: dict[str, Need], rule: Rule = ALL) -> list[str]:
    return [why.code for why in why_not(found, needs, rule)]


def test_a_sound_series_comes_with_what_it_lacks_for_the_closest_model() -> None:
    why = why_not(candidates(), {"chest": CHEST_CT, "flair": FLAIR}, ALL)
    assert [each.code for each in why] == ["NO_MODEL", "WEIGHTING", "FEW_SLICES"]
    assert why[0].text == "no installed model reads MR HEAD T1"


def test_an_unsound_series_comes_with_its_own_reason_only() -> None:
    assert codes(candidates(drop=4), {"flair": FLAIR}) == ["MISSING_SLICES"]
    assert codes((), {"flair": FLAIR}) == ["NO_IMAGES"]


def test_nothing_installed_and_nothing_allowed_are_told_apart() -> None:
    assert codes(candidates(), {}) == ["NO_MODEL_INSTALLED"]
    none = Rule(name="none", models=("other",))
    assert codes(candidates(), {"flair": FLAIR}, none) == ["NO_MODEL_ALLOWED"]


def test_incomplete_series_are_named_after_what_holds_for_the_main_one() -> None:
    (main,) = candidates(12)
    headers = [header_of(image) for image in mr_series((3, 8, 8))]
    (part,) = stacks_of(headers)
    late = Candidate(
        series_uid="1.2", number=0, part=part, shortfall=reason("INCOMPLETE", have=3, expected=9)
    )
    assert codes((late, main), {"flair": FLAIR})[0] == "NO_MODEL"
    assert codes((late, main), {"flair": FLAIR})[-1] == "INCOMPLETE"
