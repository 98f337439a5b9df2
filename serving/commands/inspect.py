"""`wetread inspect`: what the series in a folder amount to."""

import hashlib
import json
import math
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imaging.errors import NotFound, PixelsUnreadable
from imaging.header import InstanceHeader
from imaging.loss import in_words
from imaging.needs import plane
from imaging.picture import Picture
from imaging.read import stored_values
from imaging.reasons import Reason
from imaging.sentences import Value
from imaging.stack import Part, Stack, Unusable, stacks_of
from imaging.tolerances import DEFAULT, Tolerances
from imaging.units import conversions, units_offered
from serving.commands.tables import empty_table, output
from serving.folder import Found, Skipped, read_folder

_Series = dict[str, tuple[InstanceHeader, ...]]
_PLACES = 6
_LPS_TO_RAS = np.diag((-1.0, -1.0, 1.0, 1.0))
# Refusals of slices that were found in order: only how they stand is wrong.
_IN_ORDER = frozenset((
    "FEW_SLICES", "DUPLICATE_SLICES", "MISSING_SLICES", "UNEVEN_SPACING", "TILTED", "NOT_ALIGNED",
))  # fmt: skip


def inspect(
    folder: Path, *, as_json: bool, digest: bool = False, tolerances: Tolerances = DEFAULT
) -> int:
    """Print every series with its stacks, usable or not and why; name what was skipped.

    With `digest`, stacks and single images come with the SHA-256 of their stored pixel values.
    """
    if not folder.is_dir():
        msg = f"{folder} is not a folder"
        raise NotFound(msg)
    series: dict[str, _Series] = defaultdict(dict)
    for item in read_folder(folder):
        if isinstance(item, Skipped):
            print(f"skipped {item.path}: {item.why}", file=sys.stderr)
        else:
            _add(series[item.header.series.series_uid], item)
    parts = {uid: _parts(instances, tolerances) for uid, instances in series.items()}
    entries = [_entry(uid, found, digest=digest) for uid, found in parts.items()]
    if as_json:
        print(json.dumps(entries, indent=2))
    else:
        _print(entries)
    return 0


def _add(instances: _Series, item: Found) -> None:
    uid = item.header.instance_uid
    if uid in instances:
        print(f"skipped {item.path}: a second copy of an instance", file=sys.stderr)
        return
    instances[uid] = item.headers


def _parts(instances: _Series, tolerances: Tolerances) -> tuple[Part, ...]:
    return stacks_of([h for images in instances.values() for h in images], tolerances)


def _entry(series_uid: str, parts: Sequence[Part], *, digest: bool) -> dict[str, Any]:
    series, study = parts[0].instances[0].series, parts[0].instances[0].study
    return {
        "series_uid": series_uid,
        "study_uid": study.study_uid,
        "modality": series.modality,
        "number": series.number,
        "description": series.description,
        "stacks": [_part(part) | (_digest(part) if digest else {}) for part in parts],
    }


def _part(part: Part) -> dict[str, Any]:
    shared = {"name": part.name, "instances": len({h.instance_uid for h in part.instances})}
    if isinstance(part, Unusable):
        why = part.reason
        refused = {"usable": False, "reason": why.code, "detail": why.text}
        numbers = {name: _finite(value) for name, value in why.numbers}
        more = {"detail_zh": why.text_zh, "numbers": numbers}
        picture = _picture(part.picture) if part.picture else {}
        return refused | more | shared | picture | _values(part.instances)
    found = {"usable": True, **_grid(part), **_notes(part.notes), **shared}
    return found | _values(part.instances)


def _finite(value: Value) -> Value | None:
    """JSON has no infinities and nothing that is not a number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _grid(stack: Stack) -> dict[str, Any]:
    """Describe where the voxels are; affines take (column, row, slice, 1)."""
    source = stack.source_grid
    return {
        "shape": list(stack.grid.shape),
        "spacing_mm": [round(mm, _PLACES) for mm in stack.grid.spacing_mm],
        "plane": plane(stack.grid),
        "affine_lps": stack.grid.affine.tolist(),
        "affine_ras": (_LPS_TO_RAS @ stack.grid.affine).tolist(),
        "frame_of_reference_uid": stack.grid.frame_of_reference_uid,
        **({"source_shape": list(source.shape)} if source else {}),
        **({"source_affine_lps": source.affine.tolist()} if source else {}),
    }


def _notes(notes: Sequence[Reason]) -> dict[str, Any]:
    return {
        "notes": [note.text for note in notes],
        "note_codes": [note.code for note in notes],
    }


def _values(headers: Sequence[InstanceHeader]) -> dict[str, Any]:
    """Say what the values mean, in which units they can be had, and what was lost before."""
    first, losses = headers[0], [h.image.loss for h in headers if h.image.loss]
    units = [_unit(headers, unit) for unit in units_offered(headers)]
    return {
        **({"units": units} if units else {}),
        **({"no_suv": first.uptake.text} if isinstance(first.uptake, Reason) else {}),
        **({"lossy": in_words(losses)} if losses else {}),
    }


def _unit(headers: Sequence[InstanceHeader], unit: str) -> dict[str, Any]:
    """Describe the straight line from stored values; the first image's, where they differ."""
    found = conversions(headers, unit)
    assert not isinstance(found, Reason)
    slope, intercept = found[0].image.rescale or (1.0, 0.0)
    said = {"unit": unit, "slope": _finite(slope), "intercept": _finite(intercept)}
    return said | ({"by": found[0].note.text} if found[0].note else {})


def _picture(picture: Picture) -> dict[str, Any]:
    return {
        "kind": "2D image",
        "shape": [picture.rows, picture.columns],
        "spacing_mm": picture.spacing_mm and [round(mm, _PLACES) for mm in picture.spacing_mm],
        "spacing_source": picture.source.value,
    }


def _digest(part: Part) -> dict[str, Any]:
    """Hash the stored values in slice order, C order, little endian of the stored type.

    What is no stack has an order when it is one instance, or slices along one normal.
    """
    one = len({header.instance_uid for header in part.instances}) == 1
    ordered = isinstance(part, Stack) or part.reason.code in _IN_ORDER or one
    if not (ordered and part.instances[0].image.rows):
        return {}
    try:
        return {"stored_sha256": _sha256(part.instances)}
    except PixelsUnreadable as error:
        return {"stored_sha256": None, "unreadable": str(error)}


def _sha256(headers: Sequence[InstanceHeader]) -> str:
    values = stored_values(headers)
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return hashlib.sha256(little.data).hexdigest()


def _print(entries: list[dict[str, Any]]) -> None:
    columns = ("series", "modality", "stack", "images", "usable", "shape or reason", "spacing",
               "units", "notes")  # fmt: skip
    table = empty_table(*columns)
    for entry in entries:
        for stack in entry["stacks"]:
            usable = stack["usable"]
            table.add_row(
                entry["series_uid"],
                entry["modality"],
                stack["name"],
                str(stack["instances"]),
                "yes" if usable else "no",
                " x ".join(map(str, stack["shape"])) if usable else stack["detail"],
                " x ".join(f"{mm:g}" for mm in stack["spacing_mm"]) + " mm" if usable else "",
                ", ".join(each["unit"] for each in stack.get("units", ())),
                "; ".join(_remarks(stack)),
            )
    output().print(table)


def _remarks(stack: dict[str, Any]) -> list[str]:
    lossy = f"compressed with loss ({stack['lossy']})" if "lossy" in stack else ""
    # a stack has its loss among its notes
    own = stack["notes"] if stack["usable"] else [lossy]
    return [remark for remark in (*own, stack.get("no_suv", "")) if remark]
