"""One reading in numbers: what a model was given, by scanner and protocol, and what it said."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np

from imaging.contrast import contrast
from imaging.findings import Finding
from imaging.geometry import Grid
from imaging.header import InstanceHeader
from imaging.kernel import kernel_kind
from imaging.mr import weighting
from imaging.needs import plane
from imaging.stack import Stack
from imaging.volume import Volume
from serving.records import Record

Outcome = Literal["answered", "abstained", "failed"]
_QUANTILES = (5, 50, 95)
_SAMPLED = 100_000  # voxels that the quantiles are taken of


class Observation(Record):
    """A reading without anything that tells whose it is; `why` is a code."""

    scanner: str
    protocol: str
    outcome: Outcome
    why: str = ""
    inputs: Mapping[str, float]
    outputs: Mapping[str, float]


def observed(
    stack: Stack, volume: Volume | None, findings: Sequence[Finding], *, failed: str
) -> Observation:
    """Return what is to be remembered of a reading; `failed` is the code of why there is no answer.

    A model that left one of its findings open has abstained.
    """
    first = stack.instances[0]
    silent = next((f.abstained.code for f in findings if f.abstained), "")
    return Observation(
        scanner=" ".join(filter(None, (first.series.manufacturer, first.series.model_name))),
        protocol=" ".join(filter(None, _protocol(first, stack.grid))),
        outcome="failed" if failed else "abstained" if silent else "answered",
        why=failed or silent,
        inputs=_finite(_inputs(first, stack.grid, volume)),
        outputs=_finite(_outputs(findings)),
    )


def _finite(values: Iterable[tuple[str, float]]) -> Mapping[str, float]:
    return {name: value for name, value in values if math.isfinite(value)}


def _protocol(header: InstanceHeader, grid: Grid) -> Iterator[str]:
    """Yield what a protocol is told by: never its name, which people write."""
    yield header.series.modality
    yield plane(grid)
    if header.series.modality == "MR":
        yield weighting(header)
    if header.series.modality == "CT":
        yield kernel_kind(header)
    yield f"contrast {contrast(header)}"


def _inputs(
    header: InstanceHeader, grid: Grid, volume: Volume | None
) -> Iterator[tuple[str, float]]:
    slices, rows, _ = grid.spacing_mm
    yield "slice spacing, mm", slices
    yield "pixel spacing, mm", rows
    yield "slices", float(grid.shape[0])
    acquired = header.acquisition
    for name, value in (
        ("repetition time, ms", acquired.repetition_time_ms),
        ("echo time, ms", acquired.echo_time_ms),
        ("inversion time, ms", acquired.inversion_time_ms),
        ("flip angle, degrees", acquired.flip_angle_deg),
        ("kilovolts", acquired.kilovolts),
    ):
        if value is not None:
            yield name, float(value)
    if volume is not None:
        flat = volume.voxels.reshape(-1)
        some = flat[:: max(1, flat.size // _SAMPLED)]
        for share, value in zip(_QUANTILES, np.percentile(some, _QUANTILES), strict=True):
            yield f"intensity, {share} %", float(value)


def _outputs(findings: Sequence[Finding]) -> Iterator[tuple[str, float]]:
    for finding in findings:
        subject = finding.tracking_id.rpartition("/")[2]
        for measurement in finding.measurements:
            yield (
                f"{subject}: {measurement.name.meaning}, {measurement.unit.value}",
                float(measurement.value),
            )
        for each in finding.probabilities:
            yield f"{subject}: P({each.concept.meaning})", float(each.probability)
