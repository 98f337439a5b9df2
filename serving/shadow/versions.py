"""The figures of every version of a model that has read in the shadow."""

from models.registry import Registry
from models.stages import Stage, found
from serving.shadow.readings import ShadowReadings
from serving.shadow.statistics import Figures, figures


def comparisons(
    registry: Registry, readings: ShadowReadings, name: str, *, wanted: str = ""
) -> tuple[Figures, ...]:
    """Return the figures of one version, or of all that read or are to read in the shadow.

    Raises
    ------
    NotFound
        There is no such model or version.
    """
    versions = registry.versions(name)
    if wanted:
        versions = (found(versions, wanted, name=name),)
    each = [(v, figures(name, v.digest, readings.of(name, v.digest))) for v in versions]
    return tuple(
        its
        for version, its in each
        if wanted or version.stage is Stage.SHADOW or its.compared or its.failed
    )
