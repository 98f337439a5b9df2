"""Read what a model needs of a series: `[needs]`, and `[[inputs]]` of a model of several."""

import re
from dataclasses import replace

from imaging.contrast import Contrast
from imaging.needs import CHOICES, Need
from models.table import Table, three

_NAME = r"[A-Za-z0-9][A-Za-z0-9 ._+*-]{0,31}"
_LEAST = 2


def read_needs(top: Table) -> Need:
    """Return what the first input must be, with the others; each has all that `[needs]` says."""
    need = _need(top.table("needs"))
    tables = top.tables("inputs", beneath=top.content("needs"))
    if not tables:
        return need
    inputs = [_input(table) for table in tables]
    if len(inputs) < _LEAST:
        top.note("inputs", "has one input: say in [needs] what it must be")
    if len({each.name for each in inputs}) < len(inputs):
        top.note("inputs", "has two of one name")
    return replace(inputs[0], others=tuple(inputs[1:]))


def _input(table: Table) -> Need:
    name = table.text("name", pattern=_NAME)
    return replace(_need(table), name=name)


def _need(table: Table) -> Need:
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
        min_coverage_mm=three(table.numbers("min_coverage_mm", 3)),
        description=_expression(table),
    )
    table.close()
    return need


def _expression(table: Table) -> str:
    text = table.text("description", default="")
    try:
        re.compile(text)
    except re.error as error:
        table.note("description", f"is no regular expression: {error}")
        return ""
    return text
