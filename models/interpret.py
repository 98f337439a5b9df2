"""From a prediction to findings, by the manifest: thresholds, plausibility, words for people.

A model abstains where its numbers would not be sound; the reason then stands in the finding.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from imaging.boxed import boxed
from imaging.codes import MILLILITRE, VOLUME
from imaging.findings import ClassProbability, Finding, Mask, Measurement, Segment
from imaging.geometry import Grid
from imaging.identity import derived_uid
from imaging.measure import (
    cut_area_cm2,
    filled,
    key_slice,
    large_components,
    largest_component,
    rim_ratio,
    section_cm2,
    trunk,
    volume_ml,
)
from imaging.reasons import Reason, reason
from imaging.volume import Volume
from models.derive import UNVERIFIED, Derivations
from models.infer import LabelMaps, Prediction, SeriesClasses
from models.manifest import Checks, ClassLabel, Kind, Label, Manifest, Mode
from models.package import Package
from models.runtime import Array

_RIM_MM = 6.0
# Below the brain the head goes on, so tissue at the lower face says nothing; but a whole brain is
# narrow there. Networks stay about 10 mm away from a border, hence the depth.
_NECK_DEPTH_MM = 25.0
_PLANES = {
    "S": "axial",
    "I": "axial",
    "A": "coronal",
    "P": "coronal",
    "L": "sagittal",
    "R": "sagittal",
}
_CLOSED_FACES = {"S": "top", "A": "front", "P": "back", "L": "left", "R": "right"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Interpretation:
    """What a model says about a series; a segment for each label whose mask is sound."""

    findings: tuple[Finding, ...]
    segments: tuple[Segment, ...]


def interpret(
    prediction: Prediction,
    package: Package,
    volume: Volume,
    *,
    result_key: str,
    masks: Mapping[str, Mask],
) -> Interpretation:
    """Return findings and segments; tracking UIDs derive from `result_key`.

    `masks` are those the prediction was made with.
    """
    if isinstance(prediction, LabelMaps):
        return _outlined(prediction, package.manifest, volume, result_key=result_key)
    finding = _classified(prediction, package.manifest, volume, result_key=result_key, masks=masks)
    return Interpretation(findings=(finding,), segments=())


def _outlined(
    prediction: LabelMaps, manifest: Manifest, volume: Volume, *, result_key: str
) -> Interpretation:
    findings: list[Finding] = []
    segments: list[Segment] = []
    around: dict[int, Mask] = {}
    doubts: dict[int, Reason] = {}  # who doubts a structure doubts what lies inside it
    needed = {label.inside for label in manifest.labels}
    for index, label in enumerate(manifest.labels):
        probability = prediction.of(index)
        mask = _mask(probability, label, grid=volume.grid, around=around.get(label.inside))
        if label.number in needed:
            around[label.number] = mask
        finding = _structure(mask, label, manifest, volume=volume, result_key=result_key)
        checks = _checks_of(label, manifest)
        why = doubts.get(label.inside) or _doubt(mask, probability, volume=volume, checks=checks)
        if why:
            doubts[label.number] = why
            finding = _abstained(finding, label.label, why)
        else:
            segments.append(_segment(mask, label))
        findings.append(finding)
    derived = Derivations(manifest, volume, tuple(segments), result_key=result_key)
    regions = derived.regions()
    return _numbered(
        [*map(derived.measured, findings), *(region.finding for region in regions)],
        [*segments, *(region.segment for region in regions)],
    )


def _numbered(findings: list[Finding], segments: list[Segment]) -> Interpretation:
    """Return both with the segments numbered from 1 without a gap (PS3.3 C.8.20.2)."""
    new = {segment.number: number for number, segment in enumerate(segments, start=1)}
    return Interpretation(
        findings=tuple(
            replace(each, segment_number=each.segment_number and new[each.segment_number])
            for each in findings
        ),
        segments=tuple(replace(each, number=new[each.number]) for each in segments),
    )


def _checks_of(label: Label, manifest: Manifest) -> Checks:
    """Return the bounds for one structure; its own come before those of the package."""
    return replace(
        manifest.checks,
        volume_ml=label.volume_ml or manifest.checks.volume_ml,
        min_mean_probability=label.min_mean_probability or manifest.checks.min_mean_probability,
    )


def _abstained(finding: Finding, what: str, why: Reason) -> Finding:
    """Return `finding` without its numbers, and why."""
    return replace(
        finding,
        statement=f"{what} not assessed: {why.text}. {UNVERIFIED}",
        measurements=(),
        segment_number=None,
        evidence=(),
        key_instance=None,
        abstained=why,
    )


def _mask(probability: Array, label: Label, *, grid: Grid, around: Mask | None) -> Mask:
    mask: Mask = probability > label.threshold
    if around is not None:
        mask &= around
    if label.bridge_mm:
        mask = trunk(mask, grid, bridge_mm=label.bridge_mm)
    if label.least_part_ml:
        mask = large_components(mask, grid, least_ml=label.least_part_ml)
    if label.largest_component:
        mask = largest_component(mask)
    return filled(mask) if label.fill_holes else mask


def _segment(mask: Mask, label: Label) -> Segment:
    return Segment(
        number=label.number,
        label=label.label,
        category=label.category,
        type=label.type,
        cielab=label.cielab,
        region=boxed(mask),
    )


def _structure(
    mask: Mask, label: Label, manifest: Manifest, *, volume: Volume, result_key: str
) -> Finding:
    """Return the finding that measures one label."""
    size_ml = volume_ml(mask, volume.grid)
    shown = np.nonzero(mask.any(axis=(1, 2)))[0].tolist()
    key = volume.instances[key_slice(mask)].instance_uid
    evidence = dict.fromkeys([key, *(volume.instances[i].instance_uid for i in shown)])
    return Finding(
        tracking_id=f"{manifest.name}/{label.label}",
        tracking_uid=derived_uid("finding", result_key, label.label),
        concept=label.type,
        site=manifest.site,
        urgency=label.urgency,
        statement=f"{label.label} volume {size_ml:.0f} ml. {UNVERIFIED}",
        measurements=(Measurement(name=VOLUME, value=size_ml, unit=MILLILITRE),),
        segment_number=label.number,
        evidence=tuple(evidence),
        key_instance=key,
    )


def _doubt(mask: Mask, probability: Array, *, volume: Volume, checks: Checks) -> Reason | None:
    """Return the first reason not to trust a mask."""
    if not mask.any():
        return reason("NOTHING_FOUND")
    return (
        _odd_surroundings(mask, volume, checks)
        or _cut_off(mask, volume, checks)
        or _odd_volume(mask, volume, checks)
        or _unsure(mask, probability, checks)
    )


def _odd_surroundings(mask: Mask, volume: Volume, checks: Checks) -> Reason | None:
    if checks.max_rim_ratio is None:
        return None
    ratio = rim_ratio(volume.voxels, mask, volume.grid, width_mm=_RIM_MM)
    if ratio <= checks.max_rim_ratio:
        return None
    return reason("NOT_HEAD_LIKE", ratio=ratio, most=checks.max_rim_ratio)


def _cut_off(mask: Mask, volume: Volume, checks: Checks) -> Reason | None:
    most_cm2 = checks.max_cut_cm2
    for face, side in _CLOSED_FACES.items() if most_cm2 is not None else ():
        area = cut_area_cm2(volume.voxels, mask, volume.grid, face=face)
        if most_cm2 is not None and area > most_cm2:
            return reason("MASK_TOUCHES_BORDER", structure="head", side=side, area_cm2=area)
    section = section_cm2(mask, volume.grid, face="I", depth_mm=_NECK_DEPTH_MM)
    if checks.max_neck_cm2 is not None and section > checks.max_neck_cm2:
        return reason("MASK_TOUCHES_BORDER", structure="brain", side="bottom", area_cm2=section)
    return None


def _odd_volume(mask: Mask, volume: Volume, checks: Checks) -> Reason | None:
    size_ml = volume_ml(mask, volume.grid)
    if checks.volume_ml is None or checks.volume_ml[0] <= size_ml <= checks.volume_ml[1]:
        return None
    low, high = checks.volume_ml
    return reason("IMPLAUSIBLE_VOLUME", volume_ml=size_ml, least_ml=low, most_ml=high)


def _unsure(mask: Mask, probability: Array, checks: Checks) -> Reason | None:
    if checks.min_mean_probability is None:
        return None
    mean = float(probability.mean(where=mask, dtype=np.float64))
    if mean >= checks.min_mean_probability:
        return None
    return reason("LOW_CONFIDENCE", mean=mean, least=checks.min_mean_probability)


def _classified(
    prediction: SeriesClasses,
    manifest: Manifest,
    volume: Volume,
    *,
    result_key: str,
    masks: Mapping[str, Mask],
) -> Finding:
    """Return the class with the highest mean probability over the slices that were read.

    The mean, not the maximum: single slices at either end of the head look like anything. A tumour
    on some slices only lowers the agreement, and then the model abstains rather than says "none".
    """
    subject = manifest.concept.meaning
    finding = Finding(
        tracking_id=f"{manifest.name}/{subject}",
        tracking_uid=derived_uid("finding", result_key, subject),
        concept=manifest.concept,
        site=manifest.site,
        statement="",
    )
    gate = manifest.inference.gate
    if gate and gate not in masks:
        return _abstained(finding, subject, reason("NO_MASK", model=gate))
    if few := _few_slices(prediction, manifest.checks):
        return _abstained(finding, subject, few)
    vote = _voted(prediction, manifest)
    if undecided := _undecided(vote, manifest.checks):
        return _abstained(finding, subject, undecided)
    whole_series = tuple(dict.fromkeys(header.instance_uid for header in volume.instances))
    return replace(
        finding,
        concept=vote.chosen.concept,
        urgency=vote.chosen.urgency,
        statement=_sentence(vote, _read_how(vote, len(prediction.slices), manifest)),
        probability=vote.probability,
        probabilities=vote.probabilities,
        evidence=vote.evidence or whole_series,
        key_instance=vote.evidence[0] if vote.evidence else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Vote:
    """What the slices say together.

    `agreement` is the share of slices whose likeliest class is the chosen one; `evidence` their
    source images, the surest first, empty where slices were cut across the series.
    """

    chosen: ClassLabel
    probability: float
    probabilities: tuple[ClassProbability, ...]
    agreement: float
    evidence: tuple[str, ...]


def _voted(prediction: SeriesClasses, manifest: Manifest) -> _Vote:
    table = np.array([item.probabilities for item in prediction.slices], dtype=np.float64)
    means = table.mean(axis=0).tolist()
    best = int(np.argmax(means))
    agreeing = [item for item in prediction.slices if np.argmax(item.probabilities) == best]
    agreeing.sort(key=lambda item: -item.probabilities[best])
    return _Vote(
        chosen=manifest.classes[best],
        probability=means[best],
        probabilities=tuple(
            ClassProbability(concept=label.concept, probability=mean)
            for label, mean in zip(manifest.classes, means, strict=True)
        ),
        agreement=len(agreeing) / len(prediction.slices),
        evidence=tuple(item.instance_uid for item in agreeing if item.instance_uid),
    )


def _few_slices(prediction: SeriesClasses, checks: Checks) -> Reason | None:
    count = len(prediction.slices)
    if count >= checks.min_slices:
        return None
    return reason("TOO_FEW_SLICES", count=count, least=checks.min_slices)


def _undecided(vote: _Vote, checks: Checks) -> Reason | None:
    name = vote.chosen.label
    if vote.agreement < checks.min_agreement:
        return reason("SLICES_DISAGREE", agreement=vote.agreement, found=name.lower())
    if vote.probability < checks.min_probability:
        return reason("LOW_PROBABILITY", found=name.lower(), probability=vote.probability)
    return None


def _read_how(vote: _Vote, slices: int, manifest: Manifest) -> str:
    if manifest.kind is Kind.BUNDLE and vote.evidence:
        return f"{slices} slices"
    if manifest.inference.mode is not Mode.SLICES:
        return "whole series"
    plane = _PLANES[manifest.input.axes[0]]
    return f"{slices} {plane if vote.evidence else f'reformatted {plane}'} slices"


def _sentence(vote: _Vote, how: str) -> str:
    origin = "" if vote.evidence else " Evidence is the whole series."
    return (
        f"{vote.chosen.label} (probability {vote.probability:.2f}, not calibrated, "
        f"{how}).{origin} {UNVERIFIED}"
    )
