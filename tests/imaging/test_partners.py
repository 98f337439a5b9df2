from typing import Any

from imaging.partners import Named, Partners, partners


def named(key: str, **how: Any) -> Named:
    plain = {"tracking_uid": "", "label": "", "codes": frozenset(), "series": frozenset({"1"})}
    return Named(key=key, **(plain | how))


def test_a_tracking_uid_tells_before_any_name():
    ours = [named("a", tracking_uid="1.1", label="left"), named("b", tracking_uid="1.2", label="x")]
    theirs = [named("1", tracking_uid="1.2", label="left")]
    assert partners(ours, theirs) == Partners(tracked={"1": "b"}, named={}, ambiguous=frozenset())


def test_else_a_label_or_a_code_on_the_same_series_tells():
    ours = [named("a", label="Brain"), named("b", codes=frozenset({("7", "SCT")}))]
    theirs = [named("1", label=" BRAIN "), named("2", label="?", codes=frozenset({("7", "SCT")}))]
    assert partners(ours, theirs).named == {"1": "a", "2": "b"}
    other = [named("1", label="Brain", series=frozenset({"2"}))]
    assert partners(ours, other) == Partners(tracked={}, named={}, ambiguous=frozenset())


def test_what_could_be_several_is_not_guessed():
    two_of_ours = [named("a", label="Lesion"), named("b", label="Lesion")]
    found = partners(two_of_ours, [named("1", label="Lesion")])
    assert (found.named, found.ambiguous) == ({}, {"1"})
    two_of_theirs = [named("1", label="Brain"), named("2", label="Brain")]
    found = partners([named("a", label="Brain")], two_of_theirs)
    assert (found.named, found.ambiguous) == ({}, {"1", "2"})


def test_one_that_is_tracked_leaves_nothing_to_its_namesake():
    ours = [named("a", tracking_uid="1.1", label="Brain")]
    theirs = [named("1", tracking_uid="1.1"), named("2", label="Brain")]
    found = partners(ours, theirs)
    assert (found.tracked, found.named, found.ambiguous) == ({"1": "a"}, {}, {"2"})


def test_nothing_is_the_name_of_nothing():
    assert partners([named("a")], [named("1")]).named == {}
