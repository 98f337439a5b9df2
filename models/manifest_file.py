"""Read `model.toml` into a `Manifest`; every problem is named at once."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from imaging.contrast import Contrast
from imaging.errors import PackageInvalid
from imaging.findings import Urgency
from imaging.needs import CHOICES, Need
from models.manifest import (
    Activation,
    Blending,
    Checks,
    ClassLabel,
    Derivation,
    Derived,
    InferenceSpec,
    InputSpec,
    Intensity,
    Kind,
    Label,
    Manifest,
    Mode,
    Scaling,
    Sizing,
    Task,
)
from models.table import Table

FILE_NAME = "model.toml"
_MODALITY = r"[A-Z]{2,16}"
_NAME = r"[a-z][a-z0-9-]{1,47}"
_FILE = r"[A-Za-z0-9][A-Za-z0-9._-]*"

# What a bundle is fed it says itself.
_UNSAID_INPUT = InputSpec(
    axes="RAS",
    spacing_mm=None,
    sizing=Sizing.KEEP,
    size=None,
    crop=False,
    channels=1,
    channels_last=False,
    intensity=Intensity(scaling=Scaling.NONE, lower=0.0, upper=1.0),
)

_T = TypeVar("_T")


def read_manifest(path: Path, kind: Kind = Kind.ONNX) -> Manifest:
    """Return the manifest in the file `path` of a package of this `kind`.

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
    manifest = _manifest(Table(document, "", problems), kind)
    problems += _contradictions(manifest)
    if problems:
        raise PackageInvalid("\n".join(problems))
    return manifest


def _manifest(top: Table, kind: Kind) -> Manifest:
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
        concept=model.code("concept"),
        site=model.code("site"),
        evaluation=top.table("evaluation").figures(),
        needs=_needs(top.table("needs")),
        input=_input(top.table("input")) if kind is Kind.ONNX else _UNSAID_INPUT,
        inference=_inference(top.table("inference"), kind),
        labels=_each(top, "labels", _label),
        classes=_each(top, "classes", _class),
        checks=_checks(top.table("checks")),
        kind=kind,
        derived=_each(top, "derived", _derived),
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
        regions=table.choices("regions", CHOICES["regions"]),
        orientations=table.choices("orientations", CHOICES["orientations"]),
        weightings=table.choices("weightings", CHOICES["weightings"]),
        acquisitions=table.choices("acquisitions", CHOICES["acquisitions"]),
        echoes=table.choices("echoes", CHOICES["echoes"]),
        kernels=table.choices("kernels", CHOICES["kernels"]),
        origins=table.choices("origins", CHOICES["origins"]),
        contrast=table.choice("contrast", Contrast, Contrast.ANY),
        unit=table.text("unit", default=""),
        min_slices=table.integer("min_slices", 1, low=1),
        max_slices=table.optional_integer("max_slices"),
        min_spacing_mm=table.optional_number("min_spacing_mm"),
        max_spacing_mm=table.optional_number("max_spacing_mm"),
        min_extent_mm=table.optional_number("min_extent_mm"),
        min_coverage_mm=_three(table.numbers("min_coverage_mm", 3)),
    )
    table.close()
    return need


def _input(table: Table) -> InputSpec:
    size = table.numbers("size", 3, low=1)
    intensity = table.table("intensity")
    by_modality = intensity.named_tables(_MODALITY)
    spec = InputSpec(
        axes=table.text("axes", pattern="[LR][AP][SI]|[LR][SI][AP]|[AP][LR][SI]|[AP][SI][LR]|"
                        "[SI][LR][AP]|[SI][AP][LR]"),
        spacing_mm=_three(table.numbers("spacing_mm", 3, low=0.01)),
        sizing=table.choice("sizing", Sizing, Sizing.KEEP),
        size=_whole(_three(size)),
        crop=table.flag("crop", default=False),
        channels=table.integer("channels", 1, low=1),
        channels_last=table.flag("channels_last", default=False),
        intensities={modality: _intensity(each) for modality, each in by_modality.items()},
        intensity=_intensity(intensity),
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


def _inference(table: Table, kind: Kind) -> InferenceSpec:
    if kind is Kind.BUNDLE:
        unsaid = InferenceSpec(
            mode=Mode.WHOLE,
            activation=Activation.NONE,
            patch=None,
            overlap=0.0,
            blending=Blending.CONSTANT,
            batch=1,
            step_mm=0.0,
            gate="",
            gate_fraction=0.0,
            time_limit_s=table.number("time_limit_s", 0.0),
        )
        table.close()
        return unsaid
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
        time_limit_s=table.number("time_limit_s", 0.0),
    )
    table.close()
    return spec


def _label(table: Table) -> Label:
    number = table.integer("number", low=1)
    return Label(
        number=number,
        channel=table.integer("channel", number - 1),
        label=table.text("label"),
        category=table.code("category"),
        type=table.code("type"),
        cielab=_three(table.numbers("cielab", 3, low=-128.0, high=127.0)) or (50.0, 0.0, 0.0),
        threshold=table.number("threshold", 0.5, high=1.0),
        largest_component=table.flag("largest_component", default=False),
        fill_holes=table.flag("fill_holes", default=False),
        urgency=table.choice("urgency", Urgency, Urgency.ROUTINE),
        volume_ml=_two(table.numbers("volume_ml", 2)),
    )


def _class(table: Table) -> ClassLabel:
    return ClassLabel(
        index=table.integer("index"),
        label=table.text("label"),
        concept=table.code("concept"),
        urgency=table.choice("urgency", Urgency, Urgency.ROUTINE),
    )


def _derived(table: Table) -> Derived:
    return Derived(
        kind=table.choice("kind", Derivation),
        of=table.integer("of", low=1),
        within=table.integer("within", low=1),
    )


def _checks(table: Table) -> Checks:
    checks = Checks(
        volume_ml=_two(table.numbers("volume_ml", 2)),
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


def _two(values: tuple[float, ...] | None) -> tuple[float, float] | None:
    return (values[0], values[1]) if values else None


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
        "derived.of and derived.within must be numbers of [[labels]]":
            all({each.of, each.within} <= {item.number for item in labels}
                for each in manifest.derived),
        "classes must be indexed 0, 1, 2, ...":
            [item.index for item in classes] == list(range(len(classes))),
        "input.sizing needs input.size": (spec.sizing is Sizing.KEEP) == (spec.size is None),
        "a classification runs whole or in slices":
            segments or inference.mode is not Mode.SLIDING_WINDOW,
        "input.spacing_mm is not for slices that are classified":
            segments or inference.mode is not Mode.SLICES or spec.spacing_mm is None,
        "inference.step_mm and gate are for slices that are classified":
            not segments or not (inference.step_mm or inference.gate),
        "input.size of a slice must begin with 1":
            inference.mode is not Mode.SLICES or spec.size is None or spec.size[0] == 1,
        "inference.mode sliding_window needs inference.patch":
            (inference.mode is Mode.SLIDING_WINDOW) == (inference.patch is not None),
        "inference.gate must be in model.uses":
            not inference.gate or inference.gate in manifest.uses,
        "input.intensity.upper must be above lower":
            all(each.lower < each.upper for each in (spec.intensity, *spec.intensities.values())),
        "input.intensity has a table for a modality that is not in needs.modalities":
            spec.intensities.keys() <= set(manifest.needs.modalities),
    }  # fmt: skip
    return [rule for rule, holds in rules.items() if not holds]
