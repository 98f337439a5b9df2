"""`wetread analyse`: a folder in, results out, with the same pipeline as the service."""

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.progress import track

from dicom_node.records import Completion, StudyFilter
from dicom_node.routing import DEFAULT_PRIORITY, Rule
from imaging.errors import Conflict, InputError, NotFound
from serving.analyser import build_pipeline
from serving.folder import Found, Skipped, read_folder
from serving.parts import Parts
from serving.settings import Settings
from serving.study_view import StudyViews
from serving.tickets import StudyTicket, workitem_name


def analyse(settings: Settings, folder: Path, output: Path, *, model: str | None) -> int:
    """Write SEG, SR, key images and report.json of every study in `folder` to `output`."""
    if not folder.is_dir():
        msg = f"{folder} is not a folder"
        raise NotFound(msg)
    if model is not None:
        Parts(settings).registry.get(model)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wetread-") as scratch:
        parts = _parts(settings, Path(scratch), model)
        skipped = _take_in(parts, folder)
        reports = [_analyse(parts, uid, output) for uid in _studies(parts)]
    report = {"studies": reports, "skipped": skipped}
    (output / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False))
    for study in reports:
        for line in [f["statement"] for f in study["findings"]] or [study["reason"]]:
            print(line)
    print(f"results and report.json are in {output}")
    return 0


def _parts(settings: Settings, scratch: Path, model: str | None) -> Parts:
    """Return parts on a scratch archive and index, with the installed models."""
    data = scratch / "data"
    data.mkdir()
    (data / "models").symlink_to(settings.models_folder)
    alone = settings.model_copy(
        update={
            "data_folder": data,
            "database_url": "",
            "engine_url": "",
            "peers": (),
            "rules": (Rule(name="--model", models=(model,)),) if model else (),
        }
    )
    return Parts(alone)


def _take_in(parts: Parts, folder: Path) -> list[dict[str, str]]:
    skipped: list[dict[str, str]] = []
    items = list(track(read_folder(folder), "reading", disable=not sys.stderr.isatty()))
    for item in items:
        why = item.why if isinstance(item, Skipped) else _store(parts, item)
        if why:
            print(f"skipped {item.path}: {why}", file=sys.stderr)
            skipped.append({"path": str(item.path), "why": why})
    return skipped


def _store(parts: Parts, item: Found) -> str:
    """Take one instance in; return why not, or nothing."""
    encoded = item.encoded
    try:
        parts.ingest.store(
            encoded.dataset,
            sop_class_uid=encoded.sop_class_uid,
            instance_uid=encoded.instance_uid,
            transfer_syntax_uid=encoded.transfer_syntax_uid,
            calling_ae="",
            address="",
        )
    except (InputError, Conflict) as error:
        return str(error)
    return ""


def _studies(parts: Parts) -> list[str]:
    page = parts.index.studies(StudyFilter(), limit=sys.maxsize)
    return sorted(study.study_uid for study in page.studies)


def _analyse(parts: Parts, study_uid: str, output: Path) -> dict[str, Any]:
    """Run the service's steps one after the other, without the work engine."""
    pipeline, digest = build_pipeline(parts), parts.index.content_digest(study_uid)
    ticket = StudyTicket(
        workitem_uid=workitem_name(study_uid, digest),
        study_uid=study_uid,
        content_digest=digest,
        completeness="confirmed",
        arrival_text="read from a folder",
        short={},
    )
    parts.journal.schedule(
        ticket["workitem_uid"],
        study_uid=study_uid,
        content_digest=digest,
        priority=DEFAULT_PRIORITY,
    )
    plan = pipeline.plan(ticket)
    readings = plan["assignments"]
    for assignment in track(readings, "analysing", disable=not sys.stderr.isatty()):
        pipeline.read(assignment)
    pipeline.conclude(ticket)
    parts.index.mark_complete(
        Completion(
            study_uid=study_uid,
            received=parts.index.study(study_uid).received,
            completeness="confirmed",
            text=ticket["arrival_text"],
            content_digest=digest,
            at=time.time(),
        )
    )
    view = StudyViews(parts.index, parts.journal).detail(study_uid).model_dump(mode="json")
    for result in view["results"]:
        result["file"] = _copy(parts, result, output)
    return view


def _copy(parts: Parts, result: dict[str, Any], output: Path) -> str:
    instance = parts.index.instance(result["instance_uid"])
    assert instance is not None
    name = "-".join(filter(None, (result["model"], result["kind"].lower(), instance.instance_uid)))
    shutil.copyfile(parts.archive.file(instance.path), output / f"{name}.dcm")
    return f"{name}.dcm"
