"""Writes a new `model.toml`: what is known is filled in, what only a person can say is marked."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imaging.codes import ANATOMICAL_STRUCTURE, Code
from imaging.region import REGIONS
from imaging.terms import code_named
from models.table import PLACEHOLDER

_ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
_ABNORMAL_WORDS = ("tumo", "lesion", "nodule", "mass", "cyst", "edema", "hemorrhage", "necrosis")


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What is known of a model before its `model.toml` is written; an empty text is not known.

    Attributes
    ----------
    answers
        Names of what the network tells apart, by output channel or class.
    technical
        The tables `[input]` and `[inference]` as text; empty for a bundle.
    inputs
        Names of the images that are read together; none where there is one.
    """

    name: str
    version: str
    title: str
    manufacturer: str
    task: str
    intended_use: str
    licence: str
    source: str
    modalities: Sequence[str]
    regions: Sequence[str]
    answers: Mapping[int, str]
    evaluation: Mapping[str, str]
    technical: str
    inputs: Sequence[str] = ()


def card_text(card: Card) -> str:
    """Return the text of a `model.toml`; what still has to be filled in begins with ``REPLACE``."""
    subject = next(iter(card.answers.values()), card.title)
    parts = [
        _NOTE,
        _model(card, subject),
        _evaluation(card.evaluation),
        _needs(card),
        *map(_input, card.inputs),
        card.technical,
        *_answers(card),
        _CHECKS,
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def placeholders(text: str) -> list[str]:
    """Return the lines of a `model.toml` that still have to be filled in."""
    lines = [line.strip() for line in text.splitlines() if not line.startswith("#")]
    return [line for line in lines if PLACEHOLDER in line]


_NOTE = f"""
# Look at every line; docs/model-packages.md explains each. A line with {PLACEHOLDER} has to be
# filled in before the package can be added. Codes were looked up by name: check what they say.
"""


def _model(card: Card, subject: str) -> str:
    texts = {
        "name": card.name,
        "version": card.version,
        "title": card.title,
        "manufacturer": card.manufacturer,
        "task": card.task,
        "intended_use": card.intended_use,
        "licence": card.licence,
        "source": card.source,
    }
    lines = [f"{key} = {_text(value or f'{PLACEHOLDER}: {key}')}" for key, value in texts.items()]
    return "\n".join([
        "[model]",
        *lines,
        '# limitations = "what it must not be used for"',
        f"concept = {_code(code_named(subject), subject)}  # what the answer is about",
        f"site = {_code(_site(card, subject), 'body part')}  # where",
    ])  # fmt: skip


def _site(card: Card, subject: str) -> Code | None:
    if len(card.regions) == 1:
        return code_named(card.regions[0])
    return code_named(subject) if card.task == "segmentation" else None


def _evaluation(figures: Mapping[str, str]) -> str:
    if not figures:
        return ""
    lines = [f"{_text(key)} = {_text(value)}" for key, value in figures.items()]
    return "\n".join(["[evaluation]  # as its makers say", *lines])


def _needs(card: Card) -> str:
    return "\n".join([
        "[needs]  # a series that does not meet these is never read",
        f"modalities = {json.dumps(list(card.modalities) or [PLACEHOLDER])}",
        f"regions = {json.dumps(list(card.regions))}  # of {', '.join(REGIONS)}; [] means any",
        "# min_slices = 20",
        "# max_spacing_mm = 5.0",
    ])  # fmt: skip


def _input(name: str) -> str:
    """Return which series of a study is meant, as far as a name tells."""
    words = re.sub(r"[^a-z0-9]", "", name.lower())
    found = next((rules for names, rules in _SERIES.items() if words in names.split()), "")
    unsaid = f'description = "{PLACEHOLDER}: what its series description says"'
    said = [found] if found else [unsaid]
    lines = ["[[inputs]]  # a further series of the study, beside all that [needs] says"]
    return "\n".join([*lines, f"name = {_text(_readable(name))}", *said])


_SERIES = {
    "t1c t1ce t1gd t1post": 'weightings = ["T1"]\ncontrast = "yes"',
    "t1 t1w t1n t1pre": 'weightings = ["T1"]\ncontrast = "no"',
    "t2 t2w": 'weightings = ["T2"]',
    "flair t2flair t2f": 'weightings = ["FLAIR"]',
    "pd": 'weightings = ["PD"]',
    "adc": 'weightings = ["ADC"]',
    "dwi hbv": 'weightings = ["DWI"]',
    "ct": 'modalities = ["CT"]',
    "pet suv": 'modalities = ["PT"]',
}


def _answers(card: Card) -> list[str]:
    if card.task == "classification":
        return [_class(index, name) for index, name in card.answers.items()]
    return [_label(number, at, card.answers[at]) for number, at in enumerate(card.answers, 1)]


def _label(number: int, channel: int, name: str) -> str:
    abnormal = any(word in name.lower() for word in _ABNORMAL_WORDS)
    return "\n".join([
        "[[labels]]",
        f"number = {number}",
        f"channel = {channel}  # of the output, or the number that stands for it in a label map",
        f"label = {_text(_readable(name))}",
        f"category = {_code(_ABNORMAL if abnormal else ANATOMICAL_STRUCTURE, '')}",
        f"type = {_code(code_named(name), name)}",
        f"cielab = {_colour(number)}",
        '# urgency = "routine"  # or critical, urgent, normal',
    ])  # fmt: skip


def _class(index: int, name: str) -> str:
    return "\n".join([
        "[[classes]]",
        f"index = {index}",
        f"label = {_text(_readable(name))}",
        f"concept = {_code(code_named(name), name)}",
        '# urgency = "routine"  # or critical, urgent, normal',
    ])  # fmt: skip


_CHECKS = """
[checks]  # outside these bounds the model abstains
# volume_ml = [50.0, 600.0]
# min_mean_probability = 0.7
"""


def _readable(name: str) -> str:
    text = name.replace("_", " ").strip()
    return text[:1].upper() + text[1:]


def _colour(number: int) -> str:
    """Return a colour in CIELab that differs from those of the labels before."""
    hues = ([50, 60, 40], [60, -50, 45], [50, 20, -60], [75, 5, 75], [60, 60, -30], [70, -35, -20])
    return json.dumps([float(value) for value in hues[(number - 1) % len(hues)]])


def _code(code: Code | None, name: str) -> str:
    known = (PLACEHOLDER, "SCT", name.removeprefix(f"{PLACEHOLDER}: "))
    parts = (code.value, code.scheme, code.meaning) if code else known
    return "[" + ", ".join(map(_text, parts)) + "]"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
