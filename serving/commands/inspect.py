"""`wetread inspect`: what the series in a folder amount to."""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from imaging.errors import NotFound
from imaging.header import InstanceHeader
from imaging.stack import Stack, Unusable, stacks_of
from serving.commands.tables import empty_table, output
from serving.folder import Found, Skipped, read_folder


def inspect(folder: Path, *, as_json: bool) -> int:
    """Print every series with its stacks, usable or not and why; name what was skipped."""
    if not folder.is_dir():
        msg = f"{folder} is not a folder"
        raise NotFound(msg)
    series: dict[str, dict[str, InstanceHeader]] = defaultdict(dict)
    for item in read_folder(folder):
        if isinstance(item, Skipped):
            print(f"skipped {item.path}: {item.why}", file=sys.stderr)
        else:
            _add(series[item.header.series.series_uid], item)
    entries = [_entry(uid, list(headers.values())) for uid, headers in series.items()]
    if as_json:
        print(json.dumps(entries, indent=2))
    else:
        _print(entries)
    return 0


def _add(headers: dict[str, InstanceHeader], item: Found) -> None:
    uid = item.header.instance_uid
    if uid in headers:
        print(f"skipped {item.path}: a second copy of an instance", file=sys.stderr)
    else:
        headers[uid] = item.header


def _entry(series_uid: str, headers: list[InstanceHeader]) -> dict[str, Any]:
    return {
        "series_uid": series_uid,
        "modality": headers[0].series.modality,
        "stacks": [_stack(part) for part in stacks_of(headers)],
    }


def _stack(part: Stack | Unusable) -> dict[str, Any]:
    if isinstance(part, Unusable):
        return {
            "usable": False,
            "instances": len(part.instances),
            "reason": part.reason.code,
            "detail": part.reason.text,
        }
    return {
        "usable": True,
        "shape": list(part.grid.shape),
        "spacing_mm": [round(mm, 6) for mm in part.grid.spacing_mm],
        "affine_lps": [[float(value) for value in row] for row in part.grid.affine],
        "instances": len(part.instances),
        "notes": [note.text for note in part.notes],
    }


def _print(entries: list[dict[str, Any]]) -> None:
    table = empty_table("series", "modality", "images", "usable", "shape or reason", "spacing (mm)")
    for entry in entries:
        for stack in entry["stacks"]:
            usable = stack["usable"]
            table.add_row(
                entry["series_uid"],
                entry["modality"],
                str(stack["instances"]),
                "yes" if usable else "no",
                " x ".join(map(str, stack["shape"])) if usable else stack["detail"],
                " x ".join(f"{mm:g}" for mm in stack["spacing_mm"]) if usable else "",
            )
    output().print(table)
