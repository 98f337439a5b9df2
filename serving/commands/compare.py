"""`wetread models compare`: how a version in the shadow agrees with the served one."""

from collections.abc import Iterator

from serving.commands.stages import DIGEST_SHOWN, split
from serving.commands.tables import empty_table, output
from serving.parts import Parts
from serving.settings import Settings
from serving.shadow.statistics import Figures
from serving.shadow.versions import comparisons


def compare(settings: Settings, argument: str) -> int:
    """Print the figures of each version of a model that ran in the shadow, or of one."""
    parts, (name, wanted) = Parts(settings), split(argument)
    found = comparisons(parts.registry, parts.shadow_readings, name, wanted=wanted)
    for figures in found:
        told = ", ".join(_told(figures))
        output().print(f"{name} {_both(figures)}: {told}", highlight=False)
        table = empty_table("compared", "number", "agreement", "detail")
        for row in _rows(figures):
            table.add_row(*row)
        output().print(table)
    if not found:
        output().print(f"no version of {name} has read in the shadow", highlight=False)
    return 0


def _both(figures: Figures) -> str:
    return f"{figures.digest[:DIGEST_SHOWN]} beside {figures.served[:DIGEST_SHOWN]}"


def _told(figures: Figures) -> Iterator[str]:
    yield f"{figures.compared} readings compared"
    for who, number in figures.silent.items():
        yield f"{number} not assessed by the {who} version"
    for why, number in figures.failed.items():
        yield f"{number} failed ({why})"


def _rows(figures: Figures) -> Iterator[tuple[str, str, str, str]]:
    for dice in figures.dice:
        yield dice.name, str(dice.number), f"Dice {dice.mean:.3f}", f"least {dice.least:.3f}"
    for classes in figures.classes:
        kappa = "-" if classes.kappa is None else f"{classes.kappa:.3f}"
        share = f"{classes.agreement:.1%}"
        yield classes.name, str(classes.number), share, f"Cohen's kappa {kappa}"
    for value in figures.measured:
        limits = "" if value.low is None else f"limits {value.low:+.3f} to {value.high:+.3f}"
        bias = f"bias {value.bias:+.3f} {value.unit}"
        yield value.name, str(value.number), bias, limits
