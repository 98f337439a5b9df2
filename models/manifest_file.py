"""Read `model.toml` into a `Manifest`; every problem is named at once."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from imaging.errors import PackageInvalid
from imaging.findings import Urgency
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
from models.manifest_rules import contradictions
from models.needs_table import read_needs
from models.table import Table, three, two

FILE_NAME = "model.toml"
_MODALITY = r"[A-Z]{2,16}"
_NAME = r"[a-z][a-z0-9-]{1,47}"
_AXES = "[LR][AP][SI]|[LR][SI][AP]|[AP][LR][SI]|[AP][SI][LR]|[SI][LR][AP]|[SI][AP][LR]"
_FILE = r"[A-Za-z0-9][A-Za-z0-9._-]*"

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
    problems += contradictions(manifest)
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
        needs=read_needs(top),
        input=_input(top.table("input"), kind),
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


def _input(table: Table, kind: Kind) -> InputSpec:
    if kind is Kind.BUNDLE:
        return _bundle_input(table)
    size = table.numbers("size", 3, low=1)
    intensity = table.table("intensity")
    by_modality = intensity.named_tables(_MODALITY)
    spec = InputSpec(
        axes=table.text("axes", pattern=_AXES),
        spacing_mm=three(table.numbers("spacing_mm", 3, low=0.01)),
        sizing=table.choice("sizing", Sizing, Sizing.KEEP),
        size=_whole(three(size)),
        crop=table.flag("crop", default=False),
        channels=table.integer("channels", 1, low=1),
        channels_last=table.flag("channels_last", default=False),
        intensities={modality: _intensity(each) for modality, each in by_modality.items()},
        intensity=_intensity(intensity),
    )
    table.close()
    return spec


def _bundle_input(table: Table) -> InputSpec:
    """Return what a bundle is fed: as it was acquired, unless axes are named; the rest it says."""
    spec = InputSpec(
        axes=table.text("axes", pattern=_AXES, default=""),
        spacing_mm=None,
        sizing=Sizing.KEEP,
        size=None,
        crop=False,
        channels=1,
        channels_last=False,
        intensity=Intensity(scaling=Scaling.NONE, lower=0.0, upper=1.0),
    )
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
        patch=_whole(three(table.numbers("patch", 3, low=1))),
        overlap=table.number("overlap", 0.25, high=0.99),
        blending=table.choice("blending", Blending, Blending.GAUSSIAN),
        batch=table.integer("batch", 1, low=1),
        step_mm=table.number("step_mm", 0.0),
        gate=table.text("gate", default=""),
        gate_fraction=table.number("gate_fraction", 0.0, high=1.0),
        output=table.text("output", default=""),
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
        cielab=three(table.numbers("cielab", 3, low=-128.0, high=127.0)) or (50.0, 0.0, 0.0),
        threshold=table.number("threshold", 0.5, high=1.0),
        largest_component=table.flag("largest_component", default=False),
        fill_holes=table.flag("fill_holes", default=False),
        urgency=table.choice("urgency", Urgency, Urgency.ROUTINE),
        volume_ml=two(table.numbers("volume_ml", 2)),
        min_mean_probability=table.optional_number("min_mean_probability"),
        bridge_mm=table.number("bridge_mm", 0.0),
        least_part_ml=table.number("least_part_ml", 0.0),
        inside=table.integer("inside", 0),
        values=table.integers("values"),
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
        volume_ml=two(table.numbers("volume_ml", 2)),
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


def _whole(values: tuple[float, float, float] | None) -> tuple[int, int, int] | None:
    return (int(values[0]), int(values[1]), int(values[2])) if values else None
