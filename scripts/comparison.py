"""Two versions of a model on the same cases: is the candidate shown not to be worse; pure.

Differences are taken case by case, and patients are drawn, because cases of one are alike.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.evidence import Compared, Margins, Pair
from scripts.evaluation_metrics import Numbers, auroc, resampled

_SEED = 20240131
_LEAST_PROBABILITY = 1e-4  # a sure mistake costs 9.2, not without end
_LOSS, _AUROC = "log loss", "AUROC"
Line = Mapping[str, Any]  # of one case, as `scripts/evaluate.py` writes it
_Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Both:
    """One case with what the candidate and the served version said of it."""

    candidate: Line
    served: Line

    @property
    def patient(self) -> str:
        """Whose it is."""
        return str(self.served["patient"])

    def is_in(self, group: str) -> bool:
        """Whether it counts in a group."""
        kind, _, name = group.partition(": ")
        return group == "all" or self.served["groups"].get(kind) == name

    def pairs(self) -> Iterator[Pair]:
        """Yield each measure that both versions have here."""
        ours, theirs = dict(_measured(self.candidate)), dict(_measured(self.served))
        for name in theirs.keys() & ours.keys():
            yield Pair(
                case=str(self.served["id"]),
                patient=self.patient,
                measure=name,
                candidate=ours[name],
                served=theirs[name],
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything that a comparison gives; `refused` are the reasons against the candidate."""

    rows: tuple[Compared, ...]
    pairs: tuple[Pair, ...]
    silent: Mapping[str, int]
    refused: tuple[str, ...]


def compare(cases: Sequence[Both], margins: Margins) -> Outcome:
    """Compare two versions in all cases, and in each group that has enough patients."""
    pairs = [pair for case in cases for pair in sorted(case.pairs(), key=_measure)]
    rows: list[Compared] = []
    refused = list(_missing(cases))
    for group in _groups(cases, margins.groups):
        inside = [case for case in cases if case.is_in(group)]
        rows += [_compared(sample, group, margins) for sample in _samples(inside)]
        if group == "all" or _patients(inside) >= margins.group_patients:
            refused += _silences(inside, group)
    if not rows:
        refused.append("no case has an answer of both versions")
    refused += _too_few(rows, margins)
    refused += [_why(row, margins) for row in rows if row.is_worse]
    return Outcome(
        rows=tuple(rows),
        pairs=tuple(pairs),
        silent={
            "candidate": sum(is_silent(case.candidate) for case in cases),
            "served": sum(is_silent(case.served) for case in cases),
        },
        refused=tuple(refused),
    )


def is_silent(line: Line) -> bool:
    """Whether a version failed at a case or left out a part of the answer."""
    return bool(
        line["failed"] or line["abstained"] or any(e["abstained"] for e in line["outlined"])
    )


def _measured(line: Line) -> Iterator[tuple[str, float]]:
    for each in line["outlined"]:
        if each["agreement"]:
            yield f"Dice, {each['label']}", float(each["agreement"]["dice"])
    if line["probabilities"] and line["target"]:
        probability = float(line["probabilities"].get(line["target"], 0.0))
        yield _LOSS, -math.log(max(probability, _LEAST_PROBABILITY))


def _missing(cases: Sequence[Both]) -> Iterator[str]:
    """Yield what the served version speaks of and the candidate never does."""
    ours, theirs = (
        {e["label"] for line in lines for e in line["outlined"]}
        | {name for line in lines for name in line["probabilities"]}
        for lines in ([c.candidate for c in cases], [c.served for c in cases])
    )
    for name in sorted(theirs - ours):
        yield f"the candidate says nothing of {name}"


def _groups(cases: Sequence[Both], kinds: Sequence[str]) -> list[str]:
    named = {f"{k}: {case.served['groups'][k]}" for case in cases for k in kinds
             if k in case.served["groups"]}  # fmt: skip
    return ["all", *sorted(named)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """One measure of some cases; `patients` has an entry for each, `behind` counts who carries it.

    `gain` says of rows how much better the candidate is.
    """

    measure: str
    patients: Sequence[str]
    behind: int
    candidate: float
    served: float
    gain: Callable[[_Rows], float]


def _compared(sample: _Sample, group: str, margins: Margins) -> Compared:
    drawn = [sample.gain(rows) for rows in resampled(sample.patients, seed=_SEED)]
    sound = [each for each in drawn if math.isfinite(each)]
    always = group == "all" and not sample.measure.startswith(_AUROC)
    return Compared(
        measure=sample.measure,
        group=group,
        cases=len(sample.patients),
        patients=sample.behind,
        candidate=sample.candidate,
        served=sample.served,
        gain=sample.gain(np.arange(len(sample.patients))),
        low=float(np.quantile(sound, 1 - margins.confidence)) if sound else None,
        margin=_margin(sample.measure, margins),
        judged=always or sample.behind >= margins.group_patients,
    )


def _samples(cases: Sequence[Both]) -> Iterator[_Sample]:
    pairs = [pair for case in cases for pair in case.pairs()]
    for measure in sorted({pair.measure for pair in pairs}):
        mine = [pair for pair in pairs if pair.measure == measure]
        ours = np.asarray([pair.candidate for pair in mine])
        theirs = np.asarray([pair.served for pair in mine])
        patients = [pair.patient for pair in mine]
        yield _Sample(
            measure=measure,
            patients=patients,
            behind=len(set(patients)),
            candidate=float(ours.mean()),
            served=float(theirs.mean()),
            gain=_mean_of(theirs - ours if measure == _LOSS else ours - theirs),
        )
    both = [c for c in cases if c.candidate["probabilities"] and c.served["probabilities"]]
    for target in sorted({str(case.served["target"]) for case in both}):
        yield from _ranked(both, target)


def _ranked(cases: Sequence[Both], target: str) -> Iterator[_Sample]:
    """Yield how well a class is told from the others; its smaller side is what stands behind it."""
    positive = np.asarray([case.served["target"] == target for case in cases])
    if positive.all():
        return
    ours = np.asarray([case.candidate["probabilities"].get(target, 0.0) for case in cases])
    theirs = np.asarray([case.served["probabilities"].get(target, 0.0) for case in cases])
    patients = np.asarray([case.patient for case in cases])
    yield _Sample(
        measure=f"{_AUROC}, {target}",
        patients=patients.tolist(),
        behind=min(len(set(patients[side])) for side in (positive, ~positive)),
        candidate=auroc(ours, positive),
        served=auroc(theirs, positive),
        gain=lambda rows: auroc(ours[rows], positive[rows]) - auroc(theirs[rows], positive[rows]),
    )


def _mean_of(gains: Numbers) -> Callable[[_Rows], float]:
    return lambda rows: float(gains[rows].mean())


def _margin(measure: str, margins: Margins) -> float:
    if measure == _LOSS:
        return margins.log_loss
    return margins.auroc if measure.startswith(_AUROC) else margins.dice


def _silences(cases: Sequence[Both], group: str) -> Iterator[str]:
    ours = sum(is_silent(case.candidate) for case in cases)
    theirs = sum(is_silent(case.served) for case in cases)
    if ours > theirs:
        yield f"{group}: the candidate gives no full answer to {ours} cases, the served to {theirs}"


def _why(row: Compared, margins: Margins) -> str:
    bound = "no bound can be said" if row.low is None else f"at worst {row.low:+.4f}"
    return (
        f"{row.group}: {row.measure} {row.candidate:.4f}, served {row.served:.4f}, gain "
        f"{row.gain:+.4f}, {bound} ({margins.confidence:.0%}); {-row.margin:+g} is allowed"
    )


def _too_few(rows: Sequence[Compared], margins: Margins) -> Iterator[str]:
    for row in rows:
        counts = row.group == "all" and not row.measure.startswith(_AUROC)
        if counts and row.patients < margins.patients:
            yield f"{row.measure}: {row.patients} patients, {margins.patients} are needed"


def _patients(cases: Sequence[Both]) -> int:
    return len({case.patient for case in cases})


def _measure(pair: Pair) -> str:
    return pair.measure
