"""Files out of Debian packages: installed ones, or unpacked without root into a folder of ours."""

import os
import subprocess
from pathlib import Path, PurePosixPath

from imaging.errors import SetupError


def debian_file(package: str, path: PurePosixPath, folder: Path) -> Path:
    """Return where the file that `package` installs at `path` lies; unpacks below `folder`.

    Raises
    ------
    SetupError
        It is neither installed nor can it be downloaded.
    """
    unpacked = folder / package
    places = [Path(path), unpacked / path.relative_to("/")]
    if not any(place.exists() for place in places):
        _unpack(package, unpacked)
    found = next((place for place in places if place.exists()), None)
    if found is None:
        msg = f"package {package} has no file {path}"
        raise SetupError(msg)
    return found


def _unpack(package: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if not _ran(["apt-get", "download", package], folder):
            own_lists = _own_lists(folder)
            _ran(["apt-get", *own_lists, "update"], folder)
            _ran(["apt-get", *own_lists, "download", package], folder)
        downloaded = sorted(folder.glob(f"{package}_*.deb"))
        done = bool(downloaded) and _ran(["dpkg-deb", "-x", str(downloaded[-1]), "."], folder)
    except FileNotFoundError:
        done = False  # not a Debian machine
    if not done:
        msg = f"the Debian package {package} is needed: install it, e.g. apt-get install {package}"
        raise SetupError(msg)


def _own_lists(folder: Path) -> list[str]:
    """Return options with which apt keeps its package lists here: they may be empty elsewhere."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / "apt" / name).mkdir(parents=True, exist_ok=True)
    return ["-o", f"Dir::State::Lists={folder}/apt/lists", "-o", f"Dir::Cache={folder}/apt/cache"]


def _ran(command: list[str], folder: Path) -> bool:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    return done.returncode == 0
