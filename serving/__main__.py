"""The command `wetread`."""

import argparse
import signal
import sys
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import get_args

from imaging.errors import WetreadError
from serving.commands.model_options import Commands, model_commands
from serving.logs import configure
from serving.people.person import Role
from serving.settings import Settings, load

_EPILOG = """\
examples:
  wetread models install brain-extraction   fetch and convert a pretrained model
  wetread viewer install                    fetch the full viewer
  wetread check                             look at settings, ports, peers, models, disk
  wetread serve                             receive, analyse and deliver until Ctrl-C
  wetread inspect FOLDER                    what the series in a folder amount to
  wetread analyse FOLDER -o OUT             analyse a folder without a server
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = load(options.settings)
        return int(options.run(settings, options))
    except WetreadError as error:
        sys.stderr.write(f"wetread: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wetread",
        description="AI for the reading room: studies in by DICOM, findings back into the study.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"wetread {version('wetread')}")
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="settings file (default: wetread.toml here, if any)",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _process_commands(commands)
    _look_commands(commands)
    _backup_commands(commands)
    _retention_command(commands)
    _notification_commands(commands)
    _audit_commands(commands)
    _people_commands(commands)
    _folder_commands(commands)
    model_commands(commands)
    _viewer_commands(commands)
    return parser


def _process_commands(commands: Commands) -> None:
    serve = commands.add_parser("serve", help="run node, worker and web, and restart what dies")
    serve.set_defaults(run=_serve)
    for name, text in (
        ("node", "run only the DICOM listener"),
        ("worker", "run only a worker"),
        ("web", "run only the REST interface"),
    ):
        process = commands.add_parser(name, help=text)
        process.set_defaults(run=_process, process=name)
        if name == "worker":
            process.add_argument(
                "--slot", default="worker-0", help="name of this worker, stable across restarts"
            )


def _look_commands(commands: Commands) -> None:
    status = commands.add_parser(
        "status", help="show studies, work, deliveries and why anything waits"
    )
    status.set_defaults(run=_status)
    again = commands.add_parser(
        "redeliver", help="try again what destinations refused or what was given up"
    )
    again.add_argument("--study", help="only results of this study (Study Instance UID)")
    again.add_argument("--destination", help="only those for this peer")
    again.set_defaults(run=_redeliver)
    retry = commands.add_parser("retry", help="analyse a study that was set aside or read again")
    retry.add_argument("uid", help="Study Instance UID, or workitem")
    retry.set_defaults(run=_retry)
    urgent = commands.add_parser("prioritise", help="say how soon a waiting study is analysed")
    urgent.add_argument("uid", help="Study Instance UID, or workitem")
    urgent.add_argument("priority", type=int, help="1 STAT, 3 high, 5 routine, 7 low")
    urgent.set_defaults(run=_prioritise)
    check = commands.add_parser("check", help="check settings, ports, peers, models and disk")
    check.set_defaults(run=_check)


def _people_commands(commands: Commands) -> None:
    for name, text, others in (
        ("users", "who may sign in to pages and REST", ("role", "remove", "password")),
        ("keys", "which other systems may use REST and DICOMweb", ("revoke",)),
    ):
        known = commands.add_parser(name, help=text)
        actions = known.add_subparsers(dest="action", required=True)
        actions.add_parser("list", help="show names and roles")
        for action in ("add", *others):
            inner = actions.add_parser(action)
            inner.add_argument("name", metavar="NAME")
            if action in {"add", "role"}:
                needed = action == "role"
                inner.add_argument(
                    "--role",
                    choices=get_args(Role),
                    default=None if needed else "reader",
                    required=needed,
                )
        known.set_defaults(run=_people, kind=name)


def _notification_commands(commands: Commands) -> None:
    known = commands.add_parser("notifications", help="what other systems are told, steered")
    actions = known.add_subparsers(title="actions", required=True, metavar="ACTION")
    retry = actions.add_parser("retry", help="try at once what waits, was refused or given up")
    retry.add_argument("--study", help="only those about this Study Instance UID")
    retry.add_argument("--target", help="only those for this target")
    retry.set_defaults(run=_notifications, action="retry")
    cancel = actions.add_parser("cancel", help="send one no more")
    cancel.add_argument("id", help="as `wetread status` shows it")
    cancel.set_defaults(run=_notifications, action="cancel")


def _retention_command(commands: Commands) -> None:
    retention = commands.add_parser(
        "retention", help="remove studies beyond the limits of [retention], as a worker does"
    )
    retention.add_argument(
        "--dry-run", action="store_true", help="only say what would go, and why the rest stays"
    )
    retention.set_defaults(run=_retention)


def _audit_commands(commands: Commands) -> None:
    audit = commands.add_parser("audit", help="look at the audit trail: who saw and did what")
    actions = audit.add_subparsers(title="actions", required=True, metavar="ACTION")
    verify = actions.add_parser("verify", help="find records that were changed, moved or removed")
    verify.add_argument("--head", default="", help="a digest that was noted: must be in the chain")
    verify.set_defaults(run=_audit, action="verify")
    for name, text in (
        ("list", "list records, oldest first"),
        ("export", "print the messages of PS3.15 A.5, one a line"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("--since", default="", help="only from this date or time (ISO 8601)")
        action.add_argument("--study", default="", help="only of this Study Instance UID")
        action.add_argument("--user", default="", help="only what this user or AE title asked for")
        action.set_defaults(run=_audit, action=name)


def _backup_commands(commands: Commands) -> None:
    backup = commands.add_parser("backup", help="copy a running installation, consistently")
    backup.add_argument("folder", type=Path, help="where backups lie, each in a folder of its own")
    backup.add_argument("--verify", action="store_true", help="then read all of it again")
    backup.set_defaults(run=_backup)
    restore = commands.add_parser("restore", help="put a backup into an empty data folder")
    restore.add_argument("backup", type=Path, help="one backup")
    restore.add_argument("--verify", action="store_true", help="only look whether it is whole")
    restore.set_defaults(run=_restore)


def _folder_commands(commands: Commands) -> None:
    inspect = commands.add_parser("inspect", help="show what the series in a folder amount to")
    inspect.add_argument("folder", type=Path)
    inspect.add_argument(
        "--json", action="store_true", help="print one JSON array on standard output"
    )
    inspect.add_argument(
        "--digest", action="store_true", help="add the SHA-256 of the stored pixel values"
    )
    inspect.set_defaults(run=_inspect)
    analyse = commands.add_parser("analyse", help="analyse a folder without a server")
    analyse.add_argument("folder", type=Path)
    analyse.add_argument("-o", "--output", type=Path, required=True, help="folder for results")
    analyse.add_argument("--model", help="run only this installed model")
    analyse.set_defaults(run=_analyse)


def _viewer_commands(commands: Commands) -> None:
    viewer = commands.add_parser("viewer", help="install the full viewer")
    actions = viewer.add_subparsers(title="actions", required=True, metavar="ACTION")
    action = actions.add_parser("install", help="fetch the viewer from npm, check and install it")
    action.add_argument("file", type=Path, nargs="?", help="its npm package, fetched before")
    action.set_defaults(run=_viewer)


def _stop_event() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _serve(settings: Settings, options: argparse.Namespace) -> int:
    from serving.supervisor import supervise

    configure(settings.log, process="serve")
    supervise(["--settings", str(options.settings)] if options.settings else [], _stop_event())
    return 0


def _process(settings: Settings, options: argparse.Namespace) -> int:
    configure(settings.log, process=options.process)
    stop = _stop_event()
    run: Callable[..., None]
    if options.process == "node":
        from serving.node import run
    elif options.process == "web":
        from serving.web import run
    else:
        from serving.worker import run

        run(settings, stop, slot=options.slot)
        return 0
    run(settings, stop)
    return 0


def _status(settings: Settings, _: argparse.Namespace) -> int:
    from serving.commands.status import status

    return status(settings)


def _redeliver(settings: Settings, options: argparse.Namespace) -> int:
    from serving.commands.redeliver import redeliver

    return redeliver(settings, study_uid=options.study, destination=options.destination)


def _retry(settings: Settings, options: argparse.Namespace) -> int:
    from serving.commands.steer import retry

    return retry(settings, options.uid)


def _prioritise(settings: Settings, options: argparse.Namespace) -> int:
    from serving.commands.steer import prioritise

    return prioritise(settings, options.uid, options.priority)


def _check(settings: Settings, _: argparse.Namespace) -> int:
    from serving.commands.check import check

    return check(settings)


def _backup(settings: Settings, options: argparse.Namespace) -> int:
    from serving.commands.backup import back_up

    return back_up(settings, options.folder, verify=options.verify)


def _restore(settings: Settings, options: argparse.Namespace) -> int:
    from serving.commands.backup import put_back

    return put_back(settings, options.backup, verify=options.verify)


def _notifications(settings: Settings, options: argparse.Namespace) -> int:
    from serving.commands import notifications

    if options.action == "cancel":
        return notifications.cancel(settings, options.id)
    return notifications.retry(settings, study_uid=options.study, target=options.target)


def _retention(settings: Settings, options: argparse.Namespace) -> int:
    from serving.commands.retention import retention

    return retention(settings, dry_run=options.dry_run)


def _audit(settings: Settings, options: argparse.Namespace) -> int:
    from serving.commands.audit import Wanted, show, verify

    if options.action == "verify":
        return verify(settings, options.head)
    wanted = Wanted(since=options.since, study_uid=options.study, user=options.user)
    return show(settings, wanted, as_xml=options.action == "export")


def _people(settings: Settings, options: argparse.Namespace) -> int:
    from serving.commands import people

    act = people.users if options.kind == "users" else people.keys
    given = {key: vars(options).get(key, "") for key in ("name", "role")}
    return act(settings, options.action, **given)


def _inspect(settings: Settings, options: argparse.Namespace) -> int:
    from serving.commands.inspect import inspect

    return inspect(
        options.folder,
        as_json=options.json,
        digest=options.digest,
        tolerances=settings.geometry.tolerances,
    )


def _analyse(settings: Settings, options: argparse.Namespace) -> int:
    from serving.commands.analyse import analyse

    return analyse(settings, options.folder, options.output, model=options.model)


def _viewer(settings: Settings, options: argparse.Namespace) -> int:
    from serving.commands.viewer import viewer

    return viewer(settings, options.file)


if __name__ == "__main__":
    sys.exit(main())
