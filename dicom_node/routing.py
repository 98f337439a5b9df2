"""Which models read which series, and where the results go: rules and needs, with reasons.

Pure: headers and needs in, decisions out. Every pair of series and model gets a decision, so that
"why was this not analysed?" always has an answer.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imaging.needs import Need, misfits
from imaging.priority import ROUTINE
from imaging.reasons import Reason, reason
from imaging.score import score
from imaging.stack import Stack, Unusable

DEFAULT_PRIORITY = ROUTINE
ALL_MODELS = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An operator's rule; the first rule that fits a study decides. Empty conditions fit all.

    Attributes
    ----------
    modalities, regions, senders
        Fits when the study has a series of that modality or region, or came from that AE title.
    description
        Regular expression found in the study description, case ignored.
    models
        Names of the models that may run; ``["*"]`` is all, ``[]`` is none.
    destinations
        Names of peers; ``None`` is every peer with ``deliver = true``.
    priority
        Lower numbers run first; 5 is routine. ``None`` takes what the images or their sender name.
    notice
        Whether "AI analysis not performed" is written into the study when no model reads it; it is
        not when `models` is empty, because then nobody asked for an analysis.
    """

    name: str
    modalities: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    description: str = ""
    models: tuple[str, ...] = (ALL_MODELS,)
    destinations: tuple[str, ...] | None = None
    priority: int | None = None
    notice: bool = True

    def allows(self, model: str) -> bool:
        """Whether this rule lets `model` run."""
        return ALL_MODELS in self.models or model in self.models


DEFAULT_RULE = Rule(name="default")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """One part of a series, as `imaging.stack.stacks_of` gives it; `number` counts from 0.

    `shortfall` says which images are missing when the series is not complete.
    """

    series_uid: str
    number: int
    part: Stack | Unusable
    shortfall: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether a model reads one part of a series, and the reasons for and against."""

    series_uid: str
    stack: int
    model: str
    chosen: bool
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What rules look at: received series of a study, its sender's AE title, its description."""

    modalities: frozenset[str]
    regions: frozenset[str]
    sender: str
    description: str


def rule_for(rules: Sequence[Rule], study: Traits) -> Rule:
    """Return the first rule that fits the study; `DEFAULT_RULE` when none does."""
    for rule in rules:
        if (
            (not rule.modalities or study.modalities & set(rule.modalities))
            and (not rule.regions or study.regions & set(rule.regions))
            and (not rule.senders or study.sender in rule.senders)
            and re.search(rule.description, study.description, re.IGNORECASE)
        ):
            return rule
    return DEFAULT_RULE


def decide(
    candidates: Sequence[Candidate], needs: Mapping[str, Need], rule: Rule
) -> tuple[Decision, ...]:
    """Return a decision for every candidate and model: each model reads the best series it can."""
    decisions: list[Decision] = []
    for model, need in needs.items():
        judged = [
            (candidate, _against(candidate, model=model, need=need, rule=rule))
            for candidate in candidates
        ]
        fitting = [candidate for candidate, against in judged if not against]
        best = min(fitting, key=_rank) if fitting else None
        for candidate, against in judged:
            reasons = against or (_ranking(candidate, best), *_notes(candidate))
            decisions.append(
                Decision(
                    series_uid=candidate.series_uid,
                    stack=candidate.number,
                    model=model,
                    chosen=candidate is best,
                    reasons=reasons,
                )
            )
    return tuple(decisions)


def _against(candidate: Candidate, *, model: str, need: Need, rule: Rule) -> tuple[Reason, ...]:
    if not rule.allows(model):
        return (reason("RULE", rule=rule.name, model=model),)
    if candidate.shortfall:
        return (candidate.shortfall,)
    if isinstance(candidate.part, Unusable):
        return (candidate.part.reason,)
    return misfits(need, candidate.part)


def _rank(candidate: Candidate) -> tuple[float, int, float, str, int]:
    """Sort key: best score first (`imaging.score`), equal ones always in the same order."""
    stack = candidate.part
    assert isinstance(stack, Stack)
    number = stack.instances[0].series.number
    return (
        -score(stack),
        -stack.grid.shape[0],
        math.inf if number is None else number,
        candidate.series_uid,
        candidate.number,
    )


def _notes(candidate: Candidate) -> tuple[Reason, ...]:
    """Return what was noticed of a series: who asks why it was read should know."""
    return candidate.part.notes if isinstance(candidate.part, Stack) else ()


def _ranking(candidate: Candidate, best: Candidate | None) -> Reason:
    assert isinstance(candidate.part, Stack)
    points = score(candidate.part)
    if best is None or candidate is best:
        return reason("CHOSEN", score=points)
    assert isinstance(best.part, Stack)
    return reason(
        "NOT_THE_BEST",
        score=points,
        best_score=score(best.part),
        series=best.series_uid,
        stack=best.number,
    )
