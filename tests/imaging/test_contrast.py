import pytest

from imaging.contrast import contrast
from imaging.header import header_of
from tests.builders import ct_series


def given(description: str, agent: object = None, protocol: str = "") -> str:
    header = {"ContrastBolusAgent": agent, "ProtocolName": protocol}
    (image, *_) = ct_series((3, 4, 4), SeriesDescription=description, **header)
    return contrast(header_of(image))


@pytest.mark.parametrize(
    "description",
    ["AX T1 POST", "PORTAL 5.0", "Delayed 5min", "VENOUS", "Art.Phase", "ARTERIELLE", "TARDIF",
     "AVEC IV", "con cdc", "Артериальная фаза", "CTA", "CTPA"],
)  # fmt: skip
def test_words_that_say_so_without_naming_it(description: str) -> None:
    assert given(description) == "given"


@pytest.mark.parametrize(
    "description", ["Post fossa 2.5", "post op", "Post treatment", "posterior"]
)
def test_before_and_after_something_else(description: str) -> None:
    assert given(description) == "not given"


@pytest.mark.parametrize(
    "description",
    [
        "Head w/o", "CT head without contrast", "BRAIN W/O CONTRAST", "non-contrast",
        "Schädel nativ", "Abdomen ohne KM", "Thorax o. KM", "TDM sans injection", "crâne sans IV",
        "TC sin contraste",        "TC senza mdc",
        "TC sem contraste", "CT zonder contrast", "КТ без контраста", "头颅平扫",
        "非增强", "頭部単純CT", "造影なし", "T1 pre contrast", "dyn pre", "Нативная фаза",
    ],
)  # fmt: skip
def test_words_for_none(description: str) -> None:
    assert given(description) == "not given"
    assert given(description, agent="OMNIPAQUE") == "not given"


@pytest.mark.parametrize(
    "description",
    [
        "Head with contrast", "Abdomen C+", "T1 post Gd", "t1_mprage+KM", "Oberbauch mit KM",
        "CE-MRA", "TDM avec injection", "TC con contraste", "TC con mdc", "TC com contraste",
        "CT met contrast", "КТ с контрастом", "上腹部增强", "胸部造影CT", "动脉期", "portal venous",
    ],
)  # fmt: skip
def test_words_for_some(description: str) -> None:
    assert given(description) == "given"
    assert given(description, agent="") == "given"


def test_without_words_the_agent_tells() -> None:
    assert given("Abdomen", agent="ULTRAVIST 300") == "given"
    assert given("Abdomen", agent="NONE") == "not given"
    assert given("Abdomen", agent="") == "not given"
    assert given("Abdomen") == "not given"


def test_words_that_contradict_each_other_leave_it_to_the_agent() -> None:
    assert given("Schädel nativ", protocol="Schädel mit KM") == "unknown"
    assert given("Schädel nativ", protocol="Schädel mit KM", agent="ULTRAVIST") == "given"
