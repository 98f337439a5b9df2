import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from imaging import errors
from imaging.reasons import Reason, reason, reason_of
from imaging.sentences import fields_of, known_codes, sentence

ROOT = Path(__file__).parents[2]
# Where a code is not a literal: the factory itself, and errors turned into reasons.
FACTORY = "imaging/reasons.py"
CHINESE = re.compile("[\u4e00-\u9fff]")


def calls() -> Iterator[tuple[str, ast.Call]]:
    folders = ("imaging", "models", "dicom_node", "serving", "scripts")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    for path in paths:
        place = path.relative_to(ROOT).as_posix()
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        calls = (node for node in nodes if isinstance(node, ast.Call))
        yield from (
            (f"{place}:{call.lineno}", call)
            for call in calls
            if isinstance(call.func, ast.Name) and place != FACTORY
        )


def test_every_reason_in_the_code_has_its_sentences_and_their_numbers() -> None:
    seen = set()
    for place, call in calls():
        if call.func.id == "reason":
            (code,) = call.args
            assert isinstance(code, ast.Constant), f"{place}: the code must be a literal"
            given = {keyword.arg for keyword in call.keywords}
            assert code.value in known_codes(), f"{place}: {code.value} has no sentences"
            assert fields_of(code.value) <= given, f"{place}: {fields_of(code.value) - given}"
            seen.add(code.value)
    assert len(seen) > 40


def test_nothing_gives_a_reason_in_words_only() -> None:
    assert [place for place, call in calls() if call.func.id == "Reason"] == []


def test_both_languages_say_the_same_numbers() -> None:
    for code in known_codes():
        numbers = dict.fromkeys(fields_of(code), 7.0)
        english = sentence(code, numbers, language="en")
        chinese = sentence(code, numbers, language="zh")
        assert english
        assert chinese
        assert english.isascii(), code
        assert CHINESE.search(chinese), code
        assert english.count("7") == chinese.count("7"), code
        assert english[-1] not in ".!", code


def test_every_error_that_ends_a_reading_is_a_reason() -> None:
    for kind in (errors.InputError, errors.ModelError):
        for each in (kind, *kind.__subclasses__()):
            assert each().code in known_codes()
    assert reason_of(errors.PixelsUnreadable("slice 3")).text == (
        "the pixels cannot be decoded: slice 3"
    )


def test_lists_terms_and_choices() -> None:
    missing = reason(
        "MISSING_SLICES", missing=8, count=40, spacing_mm=5.0, positions_mm=tuple(range(8))
    )
    assert "0.00, 1.00, 2.00, 3.00, 4.00, 5.00 and more mm" in missing.text
    assert "0.00、1.00、2.00、3.00、4.00、5.00等 mm" in missing.text_zh
    region = reason("REGION", found="CHEST", needed=("HEAD", "NECK"))
    assert region.text == "body region is CHEST; HEAD or NECK is needed"
    assert region.text_zh == "检查部位为胸部，需要头部或颈部"
    assert dict(region.numbers)["needed"] == ("HEAD", "NECK")


def test_a_reason_without_its_number_is_an_error() -> None:
    with pytest.raises(KeyError):
        reason("TILTED")
    with pytest.raises(KeyError):
        reason("NO_SUCH_CODE")
    assert Reason(code="NO_SUCH_CODE", text="in words").text_zh == "in words"
