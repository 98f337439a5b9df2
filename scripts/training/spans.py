"""Which samples the steps of a run see."""

from collections.abc import Iterator
from pathlib import Path

from scripts.heads.inputs import public_heads
from scripts.heads.synthesis import Heads
from scripts.training.config import TrainingConfig
from scripts.training.samples import Span


def spans_of(config: TrainingConfig, cache: Path) -> Iterator[Span]:
    """Yield the spans of a run, one for each phase; downloads are kept in `cache`."""
    heads = public_heads(cache)
    first = 0
    for phase in config.phases:
        maker = Heads(heads, size=phase.size, spacing_mm=phase.spacing_mm)
        yield Span(first=first, last=first + phase.steps, maker=maker)
        first += phase.steps
