"""The demo's folder: each run starts empty, but keeps what was downloaded and the models."""

import fcntl
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from imaging.errors import SetupError

_MARKER = "made-by-wetread-demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoFolder:
    """Where the parts of the demo keep their files."""

    packages: Path
    studies: Path
    pacs: Path
    wetread: Path


def opened(folder: Path, stops: ExitStack) -> DemoFolder:
    """Return the emptied folder, locked until `stops` closes.

    Raises
    ------
    SetupError
        It has files that no demo made, or another demo is using it.
    """
    marker = folder / _MARKER
    if folder.exists() and any(folder.iterdir()) and not marker.exists():
        msg = f"{folder} is not empty and not from a demo: choose another one with --folder"
        raise SetupError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    lock = stops.enter_context(marker.open("w"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        msg = f"another demo runs in {folder}: end it, or choose another folder with --folder"
        raise SetupError(msg) from error
    parts = DemoFolder(
        packages=folder / "packages",
        studies=folder / "studies",
        pacs=folder / "pacs",
        wetread=folder / "wetread",
    )
    _empty(parts)
    return parts


def _empty(parts: DemoFolder) -> None:
    data = parts.wetread / "data"
    kept = [data / "models", data / "downloads"]
    old = [parts.pacs, parts.studies, *(data.iterdir() if data.exists() else ())]
    for path in old:
        if path.is_dir() and path not in kept:
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()
    parts.wetread.mkdir(exist_ok=True)
