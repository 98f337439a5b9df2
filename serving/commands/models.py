"""`wetread models`: list, install, write, add, show and remove model packages."""

from pathlib import Path

from rich.console import Console

from imaging.errors import PackageInvalid
from models.bundle import unpacked
from models.catalog import install, recipes
from models.package import Package, read_package
from models.registry import Registry
from models.runtime import open_sessions
from models.stages import By, Stage, Version, found
from models.trial import try_out
from serving.commands.stages import (
    DIGEST_SHOWN,
    audited,
    change_stage,
    named,
    remark,
    remove,
)
from serving.commands.tables import empty_table, output
from serving.parts import Parts, account
from serving.settings import Settings


def models(settings: Settings, action: str, argument: str) -> int:
    """Carry out one action on the installed packages."""
    registry, console = Parts(settings).registry, output()
    if action == "list":
        _print_list(settings, console)
    elif action == "install":
        package = install(argument, registry, settings.data_folder / "downloads")
        console.print(f"installed {named(package)}{remark(registry, package)}")
    elif action == "show":
        name, _, wanted = argument.partition("@")
        digest = found(registry.versions(name), wanted, name=name).digest if wanted else ""
        _print_card(registry.get(name, digest), console)
    else:
        remove(settings, argument)
        console.print(f"removed {argument}")
    return 0


def add(settings: Settings, path: Path, trust: str, *, stage: Stage | None) -> int:
    """Try a package out on noise and install it; `trust` is the digest of one that may run code.

    Without a `stage` the first version of a model is served, and a further one is a candidate; to
    be served, that one has to be promoted as any other.
    """
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
        name = package.manifest.name
        first = Stage.CANDIDATE if stage is Stage.CANDIDATE else registry.stage_of_next(name)
        audited(settings, f"model {name}: add {package.digest} as {first}")
        added = registry.add(folder, first, By(who=account()))
        console.print(f"installed {named(added)}{remark(registry, added)}", highlight=False)
    if stage is Stage.SERVED and remark(registry, added):
        return change_stage(settings, "promote", f"{name}@{added.digest}", why="")
    return 0


def _print_list(settings: Settings, console: Console) -> None:
    registry = Parts(settings).registry
    table = empty_table("model", "version", "digest", "task", "state", "what it does")
    installed = {name: registry.versions(name) for name in registry.names()}
    for name, versions in installed.items():
        for version in versions:
            table.add_row(*_row(registry, name, version))
    for name, recipe in recipes().items():
        if not installed.get(name):
            how = f"wetread models install {name}"
            table.add_row(name, "", "", "", how, recipe.source.origin)
    console.print(table)


def _row(registry: Registry, name: str, version: Version) -> tuple[str, ...]:
    digest = version.digest[:DIGEST_SHOWN]
    try:
        manifest = registry.get(name, version.digest).manifest
    except PackageInvalid as error:
        problems = "; ".join(str(error).splitlines())
        return name, version.version, digest, "", f"{version.stage}, broken", problems
    return name, version.version, digest, manifest.task, version.stage, manifest.title


def _print_card(package: Package, console: Console) -> None:
    console.print((package.folder / "model.toml").read_text(encoding="utf-8"), markup=False)
    console.print(f"folder {package.folder}\ndigest {package.digest}", highlight=False)
