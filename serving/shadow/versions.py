"""The figures of every version of a model that has read in the shadow."""

from collections.abc import Iterator

from models.registry import Registry
from models.stages import Stage, Version, found
from serving.shadow.readings import ShadowReadings
from serving.shadow.statistics import Figures, figures


def comparisons(
    registry: Registry, readings: ShadowReadings, name: str, *, wanted: str = ""
) -> tuple[Figures, ...]:
    """Return the figures of one version, or of all that read or are to read in the shadow.

    Each is told beside each version that was served meanwhile.

    Raises
    ------
    NotFound
        There is no such model or version.
    """
    versions = registry.versions(name)
    now = next((v.digest for v in versions if v.stage is Stage.SERVED), "")
    chosen = (found(versions, wanted, name=name),) if wanted else versions
    return tuple(each for v in chosen for each in _of(v, readings, name, served=now))


def _of(version: Version, readings: ShadowReadings, name: str, *, served: str) -> Iterator[Figures]:
    made = readings.of(name, version.digest)
    beside = dict.fromkeys(each.served for each in made)
    if not beside and version.stage is Stage.SHADOW:
        beside[served] = None
    for other in beside:
        theirs = [each for each in made if each.served == other]
        yield figures(name, version.digest, other, readings=theirs)
