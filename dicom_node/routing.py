"""Which models read which series, and where the results go: rules and needs, with reasons.

Pure: headers and needs in, decisions out. Every pair of series and model gets a decision, so that
"why was this not analysed?" always has an answer.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from imaging.companions import companions
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
class Companion:
    """A part of another series that a model reads beside the chosen one, as the input `name`."""

    name: str
    series_uid: str
    stack: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether a model reads one part of a series, and the reasons for and against.

    Of a model of several inputs the first is chosen; the others are `beside` it.
    """

    series_uid: str
    stack: int
    model: str
    chosen: bool
    reasons: tuple[Reason, ...]
    beside: tuple[Companion, ...] = ()


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
    return tuple(
        decision
        for model, need in needs.items()
        for decision in _decided(candidates, model=model, need=need, rule=rule)
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Judged:
    """A candidate for the first input of a model: what is against it, or what is read beside it."""

    candidate: Candidate
    against: tuple[Reason, ...] = ()
    beside: tuple[Companion, ...] = ()


def _decided(
    candidates: Sequence[Candidate], *, model: str, need: Need, rule: Rule
) -> Iterator[Decision]:
    sound = sorted((c for c in candidates if not _unreadable(c)), key=_rank)
    judged = [_judged(c, sound, model=model, need=need, rule=rule) for c in candidates]
    fitting = [each for each in judged if not each.against]
    best = min(fitting, key=lambda each: _rank(each.candidate)) if fitting else None
    for each in judged:
        yield Decision(
            series_uid=each.candidate.series_uid,
            stack=each.candidate.number,
            model=model,
            chosen=each is best,
            reasons=_reasons(each, best),
            beside=each.beside if each is best else (),
        )


def _judged(
    candidate: Candidate, sound: Sequence[Candidate], *, model: str, need: Need, rule: Rule
) -> _Judged:
    against = _against(candidate, model=model, need=need, rule=rule)
    if against or not need.others:
        return _Judged(candidate=candidate, against=against)
    found = companions(need, _stack(candidate), [_stack(each) for each in sound])
    if isinstance(found, Reason):
        return _Judged(candidate=candidate, against=(found,))
    beside = [
        Companion(name=other.name, series_uid=sound[at].series_uid, stack=sound[at].number)
        for other, at in zip(need.others, found, strict=True)
    ]
    return _Judged(candidate=candidate, beside=tuple(beside))


def _reasons(judged: _Judged, best: _Judged | None) -> tuple[Reason, ...]:
    candidate = judged.candidate
    for companion in best.beside if best else ():
        if (companion.series_uid, companion.stack) == (candidate.series_uid, candidate.number):
            assert best is not None
            series = best.candidate.series_uid
            return (reason("READ_BESIDE", input=companion.name, series=series),)
    if judged.against:
        return judged.against
    return (_ranking(candidate, best.candidate if best else None), *_notes(candidate))


def _against(candidate: Candidate, *, model: str, need: Need, rule: Rule) -> tuple[Reason, ...]:
    if not rule.allows(model):
        return (reason("RULE", rule=rule.name, model=model),)
    return _unreadable(candidate) or misfits(need, _stack(candidate))


def _unreadable(candidate: Candidate) -> tuple[Reason, ...]:
    if candidate.shortfall:
        return (candidate.shortfall,)
    return (candidate.part.reason,) if isinstance(candidate.part, Unusable) else ()


def _stack(candidate: Candidate) -> Stack:
    assert isinstance(candidate.part, Stack)
    return candidate.part


def _rank(candidate: Candidate) -> tuple[float, int, float, str, int]:
    """Sort key: best score first (`imaging.score`), equal ones always in the same order."""
    stack = _stack(candidate)
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
    points = score(_stack(candidate))
    if best is None or candidate is best:
        return reason("CHOSEN", score=points)
    return reason(
        "NOT_THE_BEST",
        score=points,
        best_score=score(_stack(best)),
        series=best.series_uid,
        stack=best.number,
    )
