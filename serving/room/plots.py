"""Where things lie in a plot, in units of its picture: the templates draw them; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from serving.shadow.statistics import DiceFigures, MeasuredFigures

WIDTH, HEIGHT = 360, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 10, 12, 26
_ROOM = 0.08  # beyond what is shown, as a share of it
_STEPS = 20
_BAR_GAP = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A line across the plot at `y`, and what it stands for."""

    y: float
    value: float
    kind: str  # zero | bias | limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Differences over means, as Bland and Altman draw them; `left` and `right` are the means."""

    dots: tuple[tuple[float, float], ...]
    marks: tuple[Mark, ...]
    left: float
    right: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """How many values lie in one step: a rectangle."""

    x: float
    y: float
    width: float
    height: float
    count: int


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> "_Axis":
        """Return an axis with some room around the values."""
        low, high = min(values), max(values)
        room = _ROOM * (high - low) or _ROOM * abs(high) or 1.0
        return cls(low - room, high + room, start, end)

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def spread(figures: MeasuredFigures) -> Spread:
    """Return the plot of one measured value."""
    lines = [(0.0, "zero"), (figures.bias, "bias")]
    lines += [(v, "limit") for v in (figures.low, figures.high) if v is not None]
    means = [mean for mean, _ in figures.points]
    differences = [difference for _, difference in figures.points]
    across = _Axis.over(means, _LEFT, WIDTH - _RIGHT)
    up = _Axis.over([*differences, *(value for value, _ in lines)], HEIGHT - _BOTTOM, _TOP)
    return Spread(
        dots=tuple((across.at(mean), up.at(difference)) for mean, difference in figures.points),
        marks=tuple(Mark(y=up.at(value), value=value, kind=kind) for value, kind in lines),
        left=min(means),
        right=max(means),
    )


def bars(figures: DiceFigures) -> tuple[Bar, ...]:
    """Return how Dice is distributed from 0 to 1."""
    counts = [0] * _STEPS
    for value in figures.values:
        counts[min(int(value * _STEPS), _STEPS - 1)] += 1
    across = _Axis(0.0, _STEPS, _LEFT, WIDTH - _RIGHT)
    up = _Axis(0.0, max(counts), HEIGHT - _BOTTOM, _TOP)
    width = (WIDTH - _LEFT - _RIGHT) / _STEPS - _BAR_GAP
    return tuple(
        Bar(
            x=across.at(step),
            y=up.at(count),
            width=width,
            height=round(HEIGHT - _BOTTOM - up.at(count), 1),
            count=count,
        )
        for step, count in enumerate(counts)
        if count
    )
