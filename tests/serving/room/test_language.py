import re
from pathlib import Path
from string import Formatter
from typing import get_args

import pytest

from imaging.windows import CT_PRESETS
from serving import room
from serving.records import DeliveryState, MeasurementRecord, ReasonRecord
from serving.room.language import Words, chosen, number
from serving.room.notifications import COUNTED, EVENTS, Standing
from serving.room.show import age, date, duration, person
from serving.room.words_zh import WORDS_ZH
from serving.room.worklist import STATES
from tests.serving.room.rows import finding

FOLDER = Path(room.__file__).parent
TEXT = re.compile(r"""\b(?:t|words)\(\s*(?:"((?:[^"\\]|\\.)+)"|'([^']+)')""")


def texts() -> set[str]:
    sources = [*FOLDER.glob("templates/*.html"), *FOLDER.glob("*.py")]
    found = [pair for path in sources for pair in TEXT.findall(path.read_text(encoding="utf-8"))]
    return {one or other for one, other in found}


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_every_text_has_its_chinese_with_the_same_fields():
    wanted = texts() | set(STATES) | set(get_args(DeliveryState))
    wanted |= {*get_args(Standing), *EVENTS.values(), *COUNTED}
    wanted |= {preset.label for preset in CT_PRESETS}
    assert len(wanted) > 100
    assert not wanted - WORDS_ZH.keys()
    assert not [english for english, zh in WORDS_ZH.items() if fields(english) != fields(zh)]


@pytest.mark.parametrize(
    ("query", "cookie", "accepted", "language"),
    [
        (None, None, None, "en"),
        (None, None, "zh-CN,zh;q=0.9", "zh"),
        (None, "en", "zh-CN", "en"),
        ("zh", "en", "en-US", "zh"),
        ("xx", "nonsense", "fr", "en"),
    ],
)
def test_asked_for_before_chosen_before_the_browsers(query, cookie, accepted, language):
    assert chosen(query, cookie, accepted) == language


def test_a_finding_in_one_line():
    volume = MeasurementRecord(name="Volume", value=1739.4, unit="ml")
    brain = finding(concept="Brain", measurements=(volume,))
    assert Words("en").statement(brain) == "Brain volume 1739 ml"
    assert Words("zh").statement(brain) == "脑 体积 1739 ml"
    glioma = finding(probability=0.934)
    assert Words("zh").statement(glioma) == "胶质瘤 0.93"
    why = ReasonRecord(code="NOTHING_FOUND", text="nothing", text_zh="无")
    assert Words("zh").statement(finding(abstained=why)) == "胶质瘤：未评估，无"


def test_what_has_no_chinese_stays_as_it_is():
    assert Words("zh").term("Something new") == "Something new"
    assert Words("zh").either("text", "") == "text"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Doe^Jane^M", "Doe, Jane M"),
        ("Zhang^San=张^三", "张, 三 · Zhang, San"),
        ("Plain", "Plain"),
        ("", ""),
        ("^^=", ""),
    ],
)
def test_names(name, shown):
    assert person(name) == shown


def test_dates_numbers_and_durations():
    words = Words("en")
    assert date("20240115") == "2024-01-15"
    assert date("around 1990") == "around 1990"
    assert [duration(s, words) for s in (2.34, 42, 600, 7260, 200_000)] == [
        "2.3 s", "42 s", "10 min", "2 h 1 min", "2 d 7 h",
    ]  # fmt: skip
    assert [number(v) for v in (1739.4, 12.345, 1.2345, 0.012345)] == [
        "1739", "12.3", "1.23", "0.0123",
    ]  # fmt: skip
    assert age("19800301", "20240229", words) == "43 y"
    assert age("", "20240229", words) == ""
