"""How far two versions agree over many readings: Dice, kappa, Bland-Altman; pure."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from serving.records import Record
from serving.shadow.comparison import Classes, Comparison, Measured
from serving.shadow.readings import MOST_TRIES, Reading

_LIMITS = 1.96  # standard deviations that 95 % of differences lie within
_SHOWN = 500


class DiceFigures(Record):
    """Dice of one structure, over the readings in which both versions outlined it."""

    name: str = Field(examples=["Brain"])
    number: int = Field(examples=[40])
    mean: float = Field(examples=[0.94])
    least: float = Field(examples=[0.81])
    values: tuple[float, ...] = Field(examples=[[0.94, 0.95]])


class ClassFigures(Record):
    """Classes of one question; `table` counts (served, shadow) pairs.

    `kappa` is Cohen's; ``None`` where all answers are the same one.
    """

    name: str = Field(examples=["Neoplasm of brain"])
    number: int = Field(examples=[40])
    agreement: float = Field(examples=[0.9])
    kappa: float | None = Field(examples=[0.8])
    classes: tuple[str, ...] = Field(examples=[["Glioma", "No tumour"]])
    table: tuple[tuple[int, ...], ...] = Field(examples=[[[3, 1], [0, 36]]])


class MeasuredFigures(Record):
    """Differences shadow - served of one value, as Bland and Altman show them.

    `low` and `high` are the limits of agreement; ``None`` for fewer than two values. `points` are
    (mean of both, difference), at most 500.
    """

    name: str = Field(examples=["Brain: Volume"])
    unit: str = Field(examples=["ml"])
    number: int = Field(examples=[40])
    bias: float = Field(examples=[-4.5])
    low: float | None = Field(examples=[-30.0])
    high: float | None = Field(examples=[21.0])
    points: tuple[tuple[float, float], ...] = Field(examples=[[[1400.0, -3.0]]])


class Figures(Record):
    """What came of all readings of one version (`digest`) in the shadow of another.

    `silent` counts readings with a finding that was not assessed, by version; `failed` counts the
    readings that a version gave no answer to by reason.
    """

    model: str = Field(examples=["brain-extraction"])
    digest: str = Field(examples=["1f0c9a77b2e4"])
    served: str = Field(examples=["c3abf8ff2725"])
    compared: int = Field(examples=[40])
    failed: dict[str, int] = Field(examples=[{"TIME_LIMIT": 1}])
    silent: dict[str, int] = Field(examples=[{"served": 0, "shadow": 2}])
    dice: tuple[DiceFigures, ...] = Field(examples=[[]])
    classes: tuple[ClassFigures, ...] = Field(examples=[[]])
    measured: tuple[MeasuredFigures, ...] = Field(examples=[[]])


def figures(model: str, digest: str, served: str, *, readings: Sequence[Reading]) -> Figures:
    """Return the figures of the readings of one version beside another."""
    comparisons = [each.comparison for each in readings if each.comparison]
    return Figures(
        model=model,
        digest=digest,
        served=served,
        compared=len(comparisons),
        failed=dict(Counter(why for each in readings if (why := _failure(each)))),
        silent={
            "served": sum(bool(each.served_silent) for each in comparisons),
            "shadow": sum(bool(each.shadow_silent) for each in comparisons),
        },
        dice=tuple(_dice(comparisons)),
        classes=tuple(_classes(comparisons)),
        measured=tuple(_measured(comparisons)),
    )


def kappa(table: Sequence[Sequence[int]]) -> float | None:
    """Return Cohen's kappa of a square table of counts; ``None`` where chance explains all."""
    counts = np.asarray(table, np.float64)
    total = counts.sum()
    agreed = np.trace(counts) / total
    by_chance = float(counts.sum(axis=0) @ counts.sum(axis=1)) / total**2
    return None if by_chance >= 1 else float((agreed - by_chance) / (1 - by_chance))


def _failure(reading: Reading) -> str:
    if reading.state == "begun" and reading.attempts >= MOST_TRIES:
        return "POISON"
    return reading.why


def _dice(comparisons: Sequence[Comparison]) -> list[DiceFigures]:
    values: dict[str, list[float]] = defaultdict(list)
    for comparison in comparisons:
        for outline in comparison.outlines:
            values[outline.name].append(outline.dice)
    return [
        DiceFigures(
            name=name,
            number=len(found),
            mean=float(np.mean(found)),
            least=min(found),
            values=tuple(found[-_SHOWN:]),
        )
        for name, found in sorted(values.items())
    ]


def _classes(comparisons: Sequence[Comparison]) -> list[ClassFigures]:
    answers: dict[str, list[Classes]] = defaultdict(list)
    for comparison in comparisons:
        for each in comparison.classes:
            answers[each.name].append(each)
    return [_of_question(name, found) for name, found in sorted(answers.items())]


def _of_question(name: str, answers: Sequence[Classes]) -> ClassFigures:
    names = sorted({said for each in answers for said in (each.served, each.shadow)})
    pairs = Counter((each.served, each.shadow) for each in answers)
    table = tuple(tuple(pairs[theirs, ours] for ours in names) for theirs in names)
    return ClassFigures(
        name=name,
        number=len(answers),
        agreement=sum(each.served == each.shadow for each in answers) / len(answers),
        kappa=kappa(table),
        classes=tuple(names),
        table=table,
    )


def _measured(comparisons: Sequence[Comparison]) -> list[MeasuredFigures]:
    values: dict[tuple[str, str], list[Measured]] = defaultdict(list)
    for comparison in comparisons:
        for each in comparison.measured:
            values[each.name, each.unit].append(each)
    return [_of_value(*name, found) for name, found in sorted(values.items())]


def _of_value(name: str, unit: str, values: Sequence[Measured]) -> MeasuredFigures:
    theirs = np.asarray([each.served for each in values])
    ours = np.asarray([each.shadow for each in values])
    differences = ours - theirs
    bias = float(differences.mean())
    reach = _LIMITS * float(differences.std(ddof=1)) if len(values) > 1 else None
    points = np.stack([(ours + theirs) / 2, differences], axis=1)[-_SHOWN:]
    return MeasuredFigures(
        name=name,
        unit=unit,
        number=len(values),
        bias=bias,
        low=None if reach is None else bias - reach,
        high=None if reach is None else bias + reach,
        points=tuple((float(mean), float(difference)) for mean, difference in points),
    )
