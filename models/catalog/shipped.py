"""The shipped recipes by name, and their installation."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from imaging.errors import NotFound, PackageInvalid
from models.catalog import brain_extraction, brain_tumour_class, head_structures
from models.catalog.recipe import Recipe, write_package
from models.manifest_file import FILE_NAME, read_manifest
from models.package import Package, digest_of
from models.registry import Registry


def recipes() -> Mapping[str, Recipe]:
    """Return the shipped recipes by package name."""
    shipped = (brain_extraction.RECIPE, brain_tumour_class.RECIPE, head_structures.RECIPE)
    return {recipe.name: recipe for recipe in shipped}


def install(name: str, registry: Registry, cache: Path) -> Package:
    """Return the package of recipe `name`, installed; the same one again changes nothing.

    What is fetched is kept in `cache`.

    Raises
    ------
    NotFound
        There is no such recipe.
    SetupError
        Its network cannot be fetched.
    """
    recipe = recipes().get(name)
    if recipe is None:
        msg = f"there is no recipe {name!r}; there are: {', '.join(recipes())}"
        raise NotFound(msg)
    with tempfile.TemporaryDirectory() as folder:
        write_package(recipe, cache, Path(folder))
        installed = _installed(name, registry)
        if installed and installed.digest == digest_of(Path(folder)):
            return installed
        number = read_manifest(Path(folder) / FILE_NAME).version
        if installed and installed.manifest.version == number:  # damaged: the recipe has one answer
            return registry.add(Path(folder), anew=True)
        return registry.add(Path(folder), registry.stage_of_next(name))


def _installed(name: str, registry: Registry) -> Package | None:
    try:
        return registry.get(name)
    except (NotFound, PackageInvalid):
        return None
