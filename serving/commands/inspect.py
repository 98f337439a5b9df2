"""`wetread inspect`: what the series in a folder amount to."""

import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imaging.errors import NotFound, PixelsUnreadable
from imaging.frames import headers_of
from imaging.header import InstanceHeader, read_dataset, read_part10
from imaging.picture import Picture
from imaging.read import stored_values
from imaging.stack import Part, Unusable, stacks_of
from imaging.tolerances import DEFAULT, Tolerances
from serving.commands.tables import empty_table, output
from serving.folder import Found, Skipped, read_folder

_Series = dict[str, tuple[InstanceHeader, ...]]
_PLACES = 6


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
    # Headers come from what would be stored, where an emptied identity was replaced; pixels
    # from the file.
    ds = read_dataset(item.encoded.part10() + item.encoded.dataset)
    at = read_part10(item.path).pixels_at
    instances[uid] = headers_of(ds, path=item.path, pixels_at=at)


def _parts(instances: _Series, tolerances: Tolerances) -> tuple[Part, ...]:
    return stacks_of([h for images in instances.values() for h in images], tolerances)


def _entry(series_uid: str, parts: Sequence[Part], *, digest: bool) -> dict[str, Any]:
    return {
        "series_uid": series_uid,
        "modality": parts[0].instances[0].series.modality,
        "stacks": [_part(part) | (_digest(part) if digest else {}) for part in parts],
    }


def _part(part: Part) -> dict[str, Any]:
    shared = {"name": part.name, "instances": len({h.instance_uid for h in part.instances})}
    if isinstance(part, Unusable):
        refused = {"usable": False, "reason": part.reason.code, "detail": part.reason.text}
        return refused | shared | (_picture(part.picture) if part.picture else {})
    return {
        "usable": True,
        "shape": list(part.grid.shape),
        "spacing_mm": [round(mm, _PLACES) for mm in part.grid.spacing_mm],
        "affine_lps": part.grid.affine.tolist(),
        "notes": [note.text for note in part.notes],
        **({"source_affine_lps": part.source_grid.affine.tolist()} if part.source_grid else {}),
        **shared,
    }


def _picture(picture: Picture) -> dict[str, Any]:
    return {
        "kind": "2D image",
        "shape": [picture.rows, picture.columns],
        "spacing_mm": picture.spacing_mm and [round(mm, _PLACES) for mm in picture.spacing_mm],
        "spacing_source": picture.source.value,
    }


def _digest(part: Part) -> dict[str, Any]:
    """Hash the stored values in slice order, C order, little endian of the stored type."""
    if isinstance(part, Unusable) and part.picture is None:
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
    columns = ("series", "modality", "stack", "images", "usable", "shape or reason", "spacing")
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
            )
    output().print(table)
