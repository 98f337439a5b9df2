"""A model's card, `model.toml`: who made it, what it needs and is fed, what its numbers mean."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from imaging.codes import Code
from imaging.errors import PackageInvalid
from imaging.needs import Need
from models.table import Table

FILE_NAME = "model.toml"
_NAME = r"[a-z][a-z0-9-]{1,47}"
_FILE = r"[A-Za-z0-9][A-Za-z0-9._-]*"

_T = TypeVar("_T")


class Task(StrEnum):
    """What kind of answer the model gives."""

    SEGMENTATION = "segmentation"  # a probability for every voxel and label
    CLASSIFICATION = "classification"  # a probability for every class


class Sizing(StrEnum):
    """How the image gets the size that the network wants."""

    KEEP = "keep"  # any size will do
    STRETCH = "stretch"  # the whole block is resampled to the size, whatever its proportions
    PAD = "pad"  # cut or filled with zeros on both sides, the middle stays in the middle


class Scaling(StrEnum):
    """How intensities are brought to the network's range."""

    NONE = "none"
    MAXIMUM = "maximum"  # divided by the largest value
    RANGE = "range"  # lower..upper in image units to 0..1, cut off outside
    PERCENTILE = "percentile"  # lower..upper percentile of all voxels to 0..1, cut off outside
    ZSCORE = "zscore"  # mean 0, standard deviation 1 over all voxels


class Mode(StrEnum):
    """How the network sees the image."""

    WHOLE = "whole"  # at once
    SLIDING_WINDOW = "sliding_window"  # in overlapping patches, blended
    SLICES = "slices"  # one image for each slice of the first axis


class Blending(StrEnum):
    """How overlapping patches are weighted."""

    CONSTANT = "constant"
    GAUSSIAN = "gaussian"  # sigma is an eighth of the patch


class Activation(StrEnum):
    """What is applied to the network's output to get probabilities."""

    NONE = "none"  # they are probabilities already
    SIGMOID = "sigmoid"  # labels may overlap
    SOFTMAX = "softmax"  # exactly one holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensity:
    """Scaling of values; `lower` and `upper` as `scaling` says."""

    scaling: Scaling
    lower: float
    upper: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """The array that the network is fed.

    Attributes
    ----------
    axes
        Where the three array axes point in the patient, e.g. ``"RAS"``.
    spacing_mm
        Voxel spacing along the array axes, if the network wants one.
    size
        Along the array axes; for `Mode.SLICES` of one slice (1, rows, columns).
    crop
        Whether background around the patient is cut away first (for slices: in each slice).
    channels
        How many equal channels the network wants.
    channels_last
        Whether channels follow the array axes (as in NHWC) or come before them.
    """

    axes: str
    spacing_mm: tuple[float, float, float] | None
    sizing: Sizing
    size: tuple[int, int, int] | None
    crop: bool
    channels: int
    channels_last: bool
    intensity: Intensity


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceSpec:
    """How the network is run.

    Attributes
    ----------
    patch, overlap, blending
        For `Mode.SLIDING_WINDOW`; overlap is a fraction of the patch.
    batch
        Patches or slices in one call.
    step_mm
        For `Mode.SLICES`: distance between the slices that are read.
    gate
        For `Mode.SLICES`: the package whose mask chooses slices; "" takes all.
    gate_fraction
        Least mask area of a slice, as a fraction of the largest in the series.
    """

    mode: Mode
    activation: Activation
    patch: tuple[int, int, int] | None
    overlap: float
    blending: Blending
    batch: int
    step_mm: float
    gate: str
    gate_fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A structure the model outlines: output channel, codes, colour, and how the mask is made."""

    number: int
    channel: int
    label: str
    category: Code
    type: Code
    cielab: tuple[float, float, float]
    threshold: float
    largest_component: bool
    fill_holes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassLabel:
    """A class the model tells apart: output index, name in a sentence, code."""

    index: int
    label: str
    concept: Code


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """Bounds of what is plausible; outside them the model abstains. ``None``: not checked.

    Attributes
    ----------
    volume_ml
        Least and largest volume of a mask.
    min_mean_probability
        Of the voxels in the mask.
    max_rim_ratio
        Median intensity of the 6 mm around the mask over the median inside: a T1 brain lies in dark
        fluid and bone; a stripped brain, another contrast or another organ does not.
    max_cut_cm2
        Tissue that reaches the border of the image behind the mask, except below.
    max_neck_cm2
        Mask area 25 mm above the lower border of the image: a brain stem is narrow.
    min_slices, min_probability, min_agreement
        For classes: slices read, mean probability of the chosen class, and share of slices whose
        likeliest class it is.
    """

    volume_ml: tuple[float, float] | None
    min_mean_probability: float | None
    max_rim_ratio: float | None
    max_cut_cm2: float | None
    max_neck_cm2: float | None
    min_slices: int
    min_probability: float
    min_agreement: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything the service must know about a model beside its weights.

    Attributes
    ----------
    uses
        Names of the packages whose mask of the same series this one needs.
    evaluation
        What was measured, and the figure, both as text.
    site
        The anatomy that the findings are about.
    """

    name: str
    version: str
    title: str
    manufacturer: str
    task: Task
    intended_use: str
    limitations: str
    licence: str
    source: str
    file: str
    uses: tuple[str, ...]
    site: Code
    evaluation: Mapping[str, str]
    needs: Need
    input: InputSpec
    inference: InferenceSpec
    labels: tuple[Label, ...]
    classes: tuple[ClassLabel, ...]
    checks: Checks


def read_manifest(path: Path) -> Manifest:
    """Return the manifest in the file `path`.

    Raises
    ------
    PackageInvalid
        The file is missing or is not TOML, or something in it is missing, unknown or wrong; the
        message names every problem, one to a line.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        msg = f"{path.name} cannot be read: {error}"
        raise PackageInvalid(msg) from error
    problems: list[str] = []
    manifest = _manifest(Table(document, "", problems))
    problems += _contradictions(manifest)
    if problems:
        raise PackageInvalid("\n".join(problems))
    return manifest


def _manifest(top: Table) -> Manifest:
    model = top.table("model")
    manifest = Manifest(
        name=model.text("name", pattern=_NAME),
        version=model.text("version"),
        title=model.text("title"),
        manufacturer=model.text("manufacturer"),
        task=model.choice("task", Task),
        intended_use=model.text("intended_use"),
        limitations=model.text("limitations", default=""),
        licence=model.text("licence"),
        source=model.text("source"),
        file=model.text("file", pattern=_FILE, default="model.onnx"),
        uses=model.texts("uses"),
        site=model.code("site"),
        evaluation=top.table("evaluation").figures(),
        needs=_needs(top.table("needs")),
        input=_input(top.table("input")),
        inference=_inference(top.table("inference")),
        labels=_each(top, "labels", _label),
        classes=_each(top, "classes", _class),
        checks=_checks(top.table("checks")),
    )
    model.close()
    top.close()
    return manifest


def _each(top: Table, key: str, read: Callable[[Table], _T]) -> tuple[_T, ...]:
    tables = top.tables(key)
    items = tuple(read(table) for table in tables)
    for table in tables:
        table.close()
    return items


def _needs(table: Table) -> Need:
    need = Need(
        modalities=table.texts("modalities"),
        regions=table.texts("regions"),
        weightings=table.texts("weightings"),
        min_slices=table.integer("min_slices", 1, low=1),
        max_spacing_mm=table.optional_number("max_spacing_mm"),
        min_extent_mm=table.optional_number("min_extent_mm"),
    )
    table.close()
    return need


def _input(table: Table) -> InputSpec:
    size = table.numbers("size", 3, low=1)
    spec = InputSpec(
        axes=table.text("axes", pattern="[LR][AP][SI]|[LR][SI][AP]|[AP][LR][SI]|[AP][SI][LR]|"
                        "[SI][LR][AP]|[SI][AP][LR]"),
        spacing_mm=_three(table.numbers("spacing_mm", 3, low=0.01)),
        sizing=table.choice("sizing", Sizing, Sizing.KEEP),
        size=_whole(_three(size)),
        crop=table.flag("crop", default=False),
        channels=table.integer("channels", 1, low=1),
        channels_last=table.flag("channels_last", default=False),
        intensity=_intensity(table.table("intensity")),
    )  # fmt: skip
    table.close()
    return spec


def _intensity(table: Table) -> Intensity:
    scaling = table.choice("scaling", Scaling)
    intensity = Intensity(
        scaling=scaling,
        lower=table.number("lower", 0.0, low=-1e6),
        upper=table.number("upper", 100.0 if scaling is Scaling.PERCENTILE else 1.0, low=-1e6),
    )
    table.close()
    return intensity


def _inference(table: Table) -> InferenceSpec:
    spec = InferenceSpec(
        mode=table.choice("mode", Mode),
        activation=table.choice("activation", Activation, Activation.NONE),
        patch=_whole(_three(table.numbers("patch", 3, low=1))),
        overlap=table.number("overlap", 0.25, high=0.99),
        blending=table.choice("blending", Blending, Blending.GAUSSIAN),
        batch=table.integer("batch", 1, low=1),
        step_mm=table.number("step_mm", 0.0),
        gate=table.text("gate", default=""),
        gate_fraction=table.number("gate_fraction", 0.0, high=1.0),
    )
    table.close()
    return spec


def _label(table: Table) -> Label:
    return Label(
        number=table.integer("number", low=1),
        channel=table.integer("channel", 0),
        label=table.text("label"),
        category=table.code("category"),
        type=table.code("type"),
        cielab=_three(table.numbers("cielab", 3, low=-128.0, high=127.0)) or (50.0, 0.0, 0.0),
        threshold=table.number("threshold", 0.5, high=1.0),
        largest_component=table.flag("largest_component", default=False),
        fill_holes=table.flag("fill_holes", default=False),
    )


def _class(table: Table) -> ClassLabel:
    return ClassLabel(
        index=table.integer("index"), label=table.text("label"), concept=table.code("concept")
    )


def _checks(table: Table) -> Checks:
    volume = table.numbers("volume_ml", 2)
    checks = Checks(
        volume_ml=(volume[0], volume[1]) if volume else None,
        min_mean_probability=table.optional_number("min_mean_probability"),
        max_rim_ratio=table.optional_number("max_rim_ratio"),
        max_cut_cm2=table.optional_number("max_cut_cm2"),
        max_neck_cm2=table.optional_number("max_neck_cm2"),
        min_slices=table.integer("min_slices", 1, low=1),
        min_probability=table.number("min_probability", 0.0, high=1.0),
        min_agreement=table.number("min_agreement", 0.0, high=1.0),
    )
    table.close()
    return checks


def _three(values: tuple[float, ...] | None) -> tuple[float, float, float] | None:
    return (values[0], values[1], values[2]) if values else None


def _whole(values: tuple[float, float, float] | None) -> tuple[int, int, int] | None:
    return (int(values[0]), int(values[1]), int(values[2])) if values else None


def _contradictions(manifest: Manifest) -> list[str]:
    """Name what is readable but does not fit together."""
    labels, classes = manifest.labels, manifest.classes
    spec, inference = manifest.input, manifest.inference
    segments = manifest.task is Task.SEGMENTATION
    rules = {
        "a segmentation needs [[labels]] and no [[classes]]": segments == bool(labels),
        "a classification needs [[classes]] and no [[labels]]": segments != bool(classes),
        "labels must be numbered 1, 2, 3, ...":
            [item.number for item in labels] == list(range(1, len(labels) + 1)),
        "classes must be indexed 0, 1, 2, ...":
            [item.index for item in classes] == list(range(len(classes))),
        "input.sizing needs input.size": (spec.sizing is Sizing.KEEP) == (spec.size is None),
        "a classification runs in slices, a segmentation does not":
            segments != (inference.mode is Mode.SLICES),
        "inference.mode sliding_window needs inference.patch":
            (inference.mode is Mode.SLIDING_WINDOW) == (inference.patch is not None),
        "inference.gate must be in model.uses":
            not inference.gate or inference.gate in manifest.uses,
        "input.intensity.upper must be above lower": spec.intensity.lower < spec.intensity.upper,
    }  # fmt: skip
    return [rule for rule, holds in rules.items() if not holds]
