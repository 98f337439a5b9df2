"""Measures derived from outlined structures, as a manifest's `[[derived]]` asks; research only."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from imaging import codes
from imaging.boxed import boxed
from imaging.codes import Code
from imaging.errors import InputError
from imaging.findings import Finding, Measurement, Segment
from imaging.head import Density, Region, Scan, evans_index, odd_densities, sides
from imaging.identity import derived_uid
from imaging.measure import key_slice
from imaging.midplane import HeadFrame, head_frame
from imaging.volume import Volume
from models.manifest import Derivation, Derived, Manifest

UNVERIFIED = "Research use only, unverified."
_SPACING_MM = 1.0
_PLAUSIBLE_EVANS = (0.12, 0.75)
_CONCEPTS = {
    (Density.LOW, True): codes.HYPODENSE_LEFT,
    (Density.LOW, False): codes.HYPODENSE_RIGHT,
    (Density.HIGH, True): codes.HYPERDENSE_LEFT,
    (Density.HIGH, False): codes.HYPERDENSE_RIGHT,
}
_COLOURS = {Density.LOW: (60.0, 10.0, -60.0), Density.HIGH: (70.0, 45.0, 60.0)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoundRegion:
    """A region that no label of the network stands for."""

    finding: Finding
    segment: Segment


class Derivations:
    """What a manifest derives from the structures of one volume.

    Only sound structures are measured: where one that is needed is missing from `segments`, or the
    plane between left and right cannot be found, there is nothing.
    """

    def __init__(
        self, manifest: Manifest, volume: Volume, segments: tuple[Segment, ...], *, result_key: str
    ) -> None:
        self._manifest, self._volume, self._result_key = manifest, volume, result_key
        needed = {number for each in manifest.derived for number in (each.of, each.within)}
        self._masks = {each.number: each.mask for each in segments if each.number in needed}

    def measured(self, finding: Finding) -> Finding:
        """Return a structure's finding with what is derived from it."""
        more = [
            measurement
            for each in self._wanted(Derivation.EVANS_INDEX, Derivation.SIDES)
            if each.of == finding.segment_number
            for measurement in self._measurements(each)
        ]
        if not more:
            return finding
        words = ", ".join(f"{m.name.meaning} {_number(m)}" for m in more)
        statement = finding.statement.removesuffix(f". {UNVERIFIED}")
        return replace(
            finding,
            measurements=(*finding.measurements, *more),
            statement=f"{statement}; {words}. {UNVERIFIED}",
        )

    def regions(self) -> tuple[FoundRegion, ...]:
        """Return regions of odd density; CT only."""
        if self._volume.instances[0].series.modality != "CT":
            return ()
        found = [
            region
            for each in self._wanted(Derivation.DENSITIES)
            for region in odd_densities(
                Scan(voxels=self._volume.voxels, grid=self._volume.grid),
                self._masks[each.within],
                self._masks[each.of],
                frame=self._frames[each.within],
            )
            if region.mask.any()
        ]
        first = 1 + max((label.number for label in self._manifest.labels), default=0)
        return tuple(self._region(region, first + i) for i, region in enumerate(found))

    def _wanted(self, *kinds: Derivation) -> list[Derived]:
        return [
            each
            for each in self._manifest.derived
            if each.kind in kinds and each.of in self._masks and each.within in self._frames
        ]

    @cached_property
    def _frames(self) -> dict[int, HeadFrame]:
        """The frame of the head by the label that says what the skull encloses."""
        frames = {}
        for number in {each.within for each in self._manifest.derived} & self._masks.keys():
            try:
                frames[number] = head_frame(
                    self._masks[number], self._volume.grid, spacing_mm=_SPACING_MM
                )
            except InputError:
                continue
        return frames

    def _measurements(self, derived: Derived) -> list[Measurement]:
        mask, frame, grid = self._masks[derived.of], self._frames[derived.within], self._volume.grid
        if derived.kind is Derivation.SIDES:
            parts = sides(mask, grid, frame)
            return [
                _measurement(codes.LEFT_VOLUME, parts.left_ml, codes.MILLILITRE),
                _measurement(codes.RIGHT_VOLUME, parts.right_ml, codes.MILLILITRE),
                _measurement(codes.ASYMMETRY, parts.asymmetry_percent, codes.PERCENT),
            ]
        index = evans_index(mask, self._masks[derived.within], grid, frame=frame)
        low, high = _PLAUSIBLE_EVANS
        if index is None or not low <= index.ratio <= high:
            return []
        return [_measurement(codes.EVANS_INDEX, index.ratio, codes.RATIO)]

    def _region(self, region: Region, number: int) -> FoundRegion:
        concept = _CONCEPTS[region.density, region.left]
        instances = self._volume.instances
        shown = np.nonzero(region.mask.any(axis=(1, 2)))[0].tolist()
        key = instances[key_slice(region.mask)].instance_uid
        evidence = dict.fromkeys([key, *(instances[i].instance_uid for i in shown)])
        finding = Finding(
            tracking_id=f"{self._manifest.name}/{concept.meaning} {number}",
            tracking_uid=derived_uid("finding", self._result_key, "region", str(number)),
            concept=concept,
            site=codes.BRAIN,
            statement=(
                f"{concept.meaning}: {region.volume_ml:.1f} ml, mean {region.mean_hu:.0f} HU; "
                f"what it is was not judged. {UNVERIFIED}"
            ),
            measurements=(
                _measurement(codes.VOLUME, region.volume_ml, codes.MILLILITRE),
                _measurement(codes.ATTENUATION, region.mean_hu, codes.HOUNSFIELD),
            ),
            segment_number=number,
            evidence=tuple(evidence),
            key_instance=key,
        )
        return FoundRegion(finding=finding, segment=_segment(number, concept, region))


def _segment(number: int, concept: Code, region: Region) -> Segment:
    return Segment(
        number=number,
        label=concept.meaning,
        category=codes.MORPHOLOGY,
        type=concept,
        cielab=_COLOURS[region.density],
        region=boxed(region.mask),
    )


def _measurement(name: Code, value: float, unit: codes.Unit) -> Measurement:
    return Measurement(name=name, value=value, unit=unit)


def _number(measurement: Measurement) -> str:
    if measurement.unit is codes.RATIO:
        return f"{measurement.value:.2f}"
    return f"{measurement.value:.0f} {measurement.unit.value}"
