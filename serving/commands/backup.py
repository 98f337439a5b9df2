"""`wetread backup` and `wetread restore`: copies of a running installation, and back."""

import sys
import time
from pathlib import Path

from serving.backup import make_backup, problems_of, restore
from serving.commands.tables import output
from serving.settings import Settings


def back_up(settings: Settings, folder: Path, *, verify: bool) -> int:
    """Make a backup in `folder`; with `verify`, read all of it again."""
    made, note = make_backup(settings, folder, time.time())
    output().print(
        f"{made}: {note.instances} instances, {note.copied} of them copied", highlight=False
    )
    return check(made) if verify else 0


def put_back(settings: Settings, backup: Path, *, verify: bool) -> int:
    """Restore a backup into an empty data folder; with `verify` only read all of it."""
    if verify:
        return check(backup)
    note = restore(settings, backup)
    text = f"{settings.data_folder}: {note.instances} instances; work goes on at the next start"
    output().print(text, highlight=False)
    return 0


def check(backup: Path) -> int:
    """Print what is wrong with a backup; return the exit code."""
    for problem in (found := problems_of(backup)):
        sys.stderr.write(f"wetread: {problem}\n")
    if not found:
        output().print(f"{backup} is whole", highlight=False)
    return 1 if found else 0
