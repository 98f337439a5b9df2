"""Backups of a running installation, each a folder of its own, and restoring one.

In a backup lie the databases, the instances that they name, the models, the list of the instances
and `backup.json`, which is written last: without it a backup is not whole.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from dicom_node.part10 import encoded_of
from imaging.errors import SetupError, WetreadError
from serving.database_copy import Filed, copied, put_back
from serving.settings import WETREAD_VERSION, Settings

_NOTE, _LIST, _PARTIAL = "backup.json", "instances.tsv", ".partial"
_INSTANCES, _MODELS = "instances", "models"


class Backup(BaseModel):
    """What a backup says of itself; `digests` are of all files but the instances."""

    model_config = ConfigDict(frozen=True)

    wetread: str
    created_at: float
    instances: int
    copied: int
    digests: dict[str, str]


def make_backup(settings: Settings, folder: Path, now: float) -> tuple[Path, Backup]:
    """Back up a running installation into a new folder in `folder`; return that and its note.

    Instances that an earlier backup there holds are linked to it instead of being copied.

    Raises
    ------
    SetupError
        There is nothing to back up, or it cannot be copied.
    """
    if not settings.instances_folder.is_dir():
        msg = f"there is no installation in {settings.data_folder}"
        raise SetupError(msg)
    with _alone(folder):
        earlier = backups_in(folder)[-1:]
        name = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        partial = folder / _PARTIAL
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        with copied(settings, partial) as files:
            root = settings.instances_folder
            new = sum(_keep(filed.path, root, partial, earlier=earlier) for filed in files)
        lines = (f"{filed.sha256}\t{filed.path}\n" for filed in files)
        (partial / _LIST).write_text("".join(lines), encoding="utf-8")
        if settings.models_folder.is_dir():
            shutil.copytree(settings.models_folder, partial / _MODELS)
        note = Backup(
            wetread=WETREAD_VERSION,
            created_at=now,
            instances=len(files),
            copied=new,
            digests=_digests(partial),
        )
        (partial / _NOTE).write_text(note.model_dump_json(indent=2), encoding="utf-8")
        os.sync()
        return partial.rename(folder / name), note


def backups_in(folder: Path) -> tuple[Path, ...]:
    """Return the whole backups in a folder, oldest first."""
    return tuple(sorted(note.parent for note in folder.glob(f"[0-9]*/{_NOTE}")))


def problems_of(backup: Path) -> tuple[str, ...]:
    """Compare every file of a backup with its digest; return what is wrong."""
    note = _note(backup)
    found = [
        f"{name} is missing or damaged"
        for name, digest in note.digests.items()
        if not (backup / name).is_file() or _digest(backup / name) != digest
    ]
    if found:
        return tuple(found)
    listed = _listed(backup)
    found += [
        f"instance {filed.path} is missing or damaged"
        for filed in listed
        if not _is_sound(backup / _INSTANCES / filed.path, filed.sha256)
    ]
    return tuple(found)


def restore(settings: Settings, backup: Path) -> Backup:
    """Put a backup into the empty data folder and database that the settings name.

    Raises
    ------
    SetupError
        The backup is damaged, or there is something where it should go.
    """
    target = settings.data_folder
    if target.is_dir() and any(target.iterdir()):
        msg = f"{target} is not empty: name a new data folder, or move this one away"
        raise SetupError(msg)
    if problems := problems_of(backup):
        msg = "\n  ".join(["the backup is damaged:", *problems])
        raise SetupError(msg)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for filed in _listed(backup):
        _copy(backup / _INSTANCES / filed.path, settings.instances_folder / filed.path)
    if (backup / _MODELS).is_dir():
        shutil.copytree(backup / _MODELS, settings.models_folder)
    put_back(settings, backup)
    os.sync()
    return _note(backup)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = f"another backup into {folder} is running"
            raise SetupError(msg) from error
        yield


def _keep(path: str, root: Path, partial: Path, *, earlier: tuple[Path, ...]) -> bool:
    """Link or copy an instance; return whether it was copied. A file never changes its content."""
    target = partial / _INSTANCES / path
    for backup in earlier:
        known = backup / _INSTANCES / path
        if known.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(known, target)
            return False
    try:
        _copy(root / path, target)
    except FileNotFoundError as error:
        msg = f"instance {path} was removed meanwhile, or is missing: try again"
        raise SetupError(msg) from error
    return True


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _note(backup: Path) -> Backup:
    try:
        return Backup.model_validate_json((backup / _NOTE).read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        msg = f"{backup} is not a whole backup"
        raise SetupError(msg) from error


def _listed(backup: Path) -> tuple[Filed, ...]:
    lines = (backup / _LIST).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("\t", 1) for line in lines)
    return tuple(Filed(sha256=sha256, path=path) for sha256, path in pairs)


def _digests(folder: Path) -> dict[str, str]:
    parts = [part for part in sorted(folder.iterdir()) if part.name != _INSTANCES]
    files = [file for part in parts for file in (part, *sorted(part.rglob("*"))) if file.is_file()]
    return {file.relative_to(folder).as_posix(): _digest(file) for file in files}


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_sound(file: Path, sha256: str) -> bool:
    if not file.is_file() or not sha256:
        return file.is_file()
    try:
        return hashlib.sha256(encoded_of(file.read_bytes()).dataset).hexdigest() == sha256
    except WetreadError:
        return False
