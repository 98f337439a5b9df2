"""Which samples the steps of a run see."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from models.manifest_file import FILE_NAME, read_manifest
from models.package import Package
from scripts.dataset_files import load
from scripts.heads.inputs import public_heads
from scripts.heads.synthesis import Heads
from scripts.training import config as settings
from scripts.training.cases import Cases
from scripts.training.samples import Maker, Span


def spans_of(config: settings.TrainingConfig, cache: Path) -> Iterator[Span]:
    """Yield the spans of a run, one for each phase; downloads are kept in `cache`."""
    maker = _makers(config, cache)
    first = 0
    for phase in config.phases:
        yield Span(first=first, last=first + phase.steps, maker=maker(phase))
        first += phase.steps


def _makers(config: settings.TrainingConfig, cache: Path) -> Callable[[settings.Phase], Maker]:
    data = config.data
    if isinstance(data, settings.Heads):
        heads = public_heads(cache)
        return lambda phase: Heads(heads, size=phase.size, spacing_mm=phase.spacing_mm)
    package = Package(
        folder=data.package, manifest=read_manifest(data.package / FILE_NAME), digest=""
    )
    channels = int(str(config.network.arguments.get("out_channels", len(package.manifest.classes))))
    make = partial(Cases, load(data.dataset), data.dataset, package, channels=channels)
    return lambda phase: make(size=phase.size)
