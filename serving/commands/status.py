"""`wetread status`: studies, work, deliveries and models, and why anything waits."""

import time

from rich.console import Console

from dicom_node.archive import Space
from dicom_node.records import StudyFilter
from serving.commands.tables import empty_table, output
from serving.health import SPACE
from serving.parts import Parts
from serving.settings import Settings
from serving.study_view import StudyViews

_SHOWN = 20


def status(settings: Settings) -> int:
    """Print what is here and what waits for what."""
    parts, console = Parts(settings), output()
    counts = parts.index.counts()
    console.print(
        f"{counts.studies} studies ({counts.receiving} arriving), {counts.instances} instances, "
        f"{counts.results} of them results, {counts.set_aside} refused or in conflict; "
        f"{parts.archive.free_bytes() / 2**30:.1f} GB free"
    )
    if (space := parts.archive.space()) is not Space.ENOUGH:
        console.print(SPACE[space], style="bold red")
    _print_studies(parts, console)
    _print_waiting(parts, console)
    _print_messages(parts, console)
    _print_models(parts, console)
    return 0


def _print_studies(parts: Parts, console: Console) -> None:
    table = empty_table("study", "modality", "state", "analysed", "reason", title="last studies")
    page = StudyViews(parts.index, parts.journal).listed(StudyFilter(), limit=_SHOWN, offset=0)
    for study in page.studies:
        analysed = "yes" if study.analysed else "no"
        reason = study.reason or study.completeness_text
        table.add_row(study.study_uid, study.modality, study.state, analysed, reason)
    console.print(table)


def _print_waiting(parts: Parts, console: Console) -> None:
    table = empty_table("result", "destination", "state", "attempts", "next try", "problem")
    items = parts.journal.deliveries(state="waiting")
    held, failed, refused = (
        parts.journal.deliveries(state=state) for state in ("held", "failed", "refused")
    )
    for item in (*held, *items, *failed, *refused)[:_SHOWN]:
        table.add_row(
            item.instance_uid,
            item.destination,
            item.state,
            str(item.attempts),
            _wait(item.next_attempt_at),
            item.last_error,
        )
    table.title = (
        "deliveries that are held, wait, failed or were refused "
        f"({len(held)} held, {len(items)} wait, {len(refused)} refused)"
    )
    console.print(table)


def _print_messages(parts: Parts, console: Console) -> None:
    waiting, failed, refused = (
        parts.messages.listed(state=state) for state in ("waiting", "failed", "refused")
    )
    if not (parts.settings.notify or waiting or failed or refused):
        return
    table = empty_table(
        "notification", "study", "event", "target", "state", "attempts", "next try", "last answer"
    )
    for each in (*waiting, *failed, *refused)[:_SHOWN]:
        table.add_row(
            each.message_id,
            each.study_uid,
            each.event,
            each.target,
            each.state,
            str(each.attempts),
            _wait(each.next_attempt_at),
            " ".join(filter(None, (each.answer, each.words))),
        )
    table.title = (
        "notifications that wait, failed or were refused "
        f"({len(waiting)} wait, {len(failed)} failed, {len(refused)} refused)"
    )
    console.print(table)


def _wait(next_attempt_at: float | None) -> str:
    return f"in {max(0.0, next_attempt_at - time.time()):.0f} s" if next_attempt_at else ""


def _print_models(parts: Parts, console: Console) -> None:
    table = empty_table("model", "version", "digest", "problems", title="models")
    for package in parts.registry.packages():
        table.add_row(package.manifest.name, package.manifest.version, package.digest[:12], "")
    for broken in parts.registry.broken():
        table.add_row(broken.name, "", "", "; ".join(broken.problems))
    console.print(table)
