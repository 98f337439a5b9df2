"""The folder of installed packages: list, get, add, remove, and which version of each is served.

A model that only ever had one version lies in a subfolder of its name, and that one is served.
Further versions lie in NAME@DIGEST beside it, and NAME.history says which stage each is in.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from imaging.errors import Conflict, NotFound, PackageInvalid
from models.evidence import OVERRIDDEN, Gate, grounds
from models.package import Package, read_package
from models.stages import (
    SUFFIX,
    By,
    Change,
    History,
    Stage,
    Version,
    found,
    served_before,
    served_last,
    staged,
)
from models.trust import FILE_NAME as TRUSTED
from models.trust import Trust

_MARK = "@"
_DIGEST_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenPackage:
    """An installed package that cannot be used, and why."""

    name: str
    problems: tuple[str, ...]


_Signature = frozenset[tuple[str, int, int]]


@dataclass(frozen=True, slots=True)
class Registry:
    """Packages in `folder`; every look reads the stages anew, so a change counts at once."""

    folder: Path
    _read: dict[str, tuple[_Signature, Package]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def trust(self) -> Trust:
        """Which packages may run code."""
        return Trust(self.folder / TRUSTED)

    def packages(self) -> tuple[Package, ...]:
        """Return the usable packages that are served, in name order."""
        return tuple(entry for entry in self._entries() if isinstance(entry, Package))

    def broken(self) -> tuple[BrokenPackage, ...]:
        """Return served packages that cannot be used; they do not hide the others."""
        return tuple(entry for entry in self._entries() if isinstance(entry, BrokenPackage))

    def names(self) -> tuple[str, ...]:
        """Return the name of every model that has a version here."""
        if not self.folder.is_dir():
            return ()
        paths = [path for path in self.folder.iterdir() if not path.name.startswith(".")]
        plain = {path.name for path in paths if path.is_dir() and _MARK not in path.name}
        staged = {path.name.removesuffix(SUFFIX) for path in paths if path.suffix == SUFFIX}
        return tuple(sorted(plain | staged))

    def versions(self, name: str) -> tuple[Version, ...]:
        """Return the installed versions of a model, oldest first.

        Raises
        ------
        NotFound
            There is none of this name.
        """
        if name not in self.names():
            msg = f"there is no model {name!r}"
            raise NotFound(msg)
        history = self._history(name)
        return history.versions() if history.path.exists() else (self._only(name),)

    def history(self, name: str) -> tuple[Change, ...]:
        """Return every change of a model's versions, oldest first."""
        self.versions(name)
        return self._history(name).changes()

    def get(self, name: str, digest: str = "") -> Package:
        """Return the served version of a model, or the one with this digest whatever its stage.

        It is read and hashed anew when one of its files has changed.

        Raises
        ------
        NotFound
            There is none.
        PackageInvalid
            It is installed but broken.
        """
        if name not in self.names():
            msg = f"there is no model {name!r}"
            raise NotFound(msg)
        history = self._history(name)
        if not history.path.exists():
            package = self._package(name, name)
            if digest not in {"", package.digest}:
                found((), digest, name=name)
            return package
        versions = history.versions()
        version = found(versions, digest, name=name) if digest else _served(versions, name)
        package = self._package(name, version.folder)
        if package.digest != version.digest:
            msg = "its files have changed since it was installed: add it again"
            raise PackageInvalid(msg)
        return package

    def stage_of_next(self, name: str) -> Stage:
        """Return the stage of a version that is added: a candidate where one was ever served."""
        last = self.measure(name)
        return Stage.CANDIDATE if last and last.digest else Stage.SERVED

    def measure(self, name: str) -> Version | None:
        """Return the version that others must not be worse than: served, or the last that was.

        Its digest is empty where it is the only one and cannot be read.
        """
        if name not in self.names():
            return None
        return served_last(self.versions(name), self.history(name))

    def add(
        self,
        source: Path,
        stage: Stage = Stage.SERVED,
        by: By | None = None,
        *,
        anew: bool = False,
    ) -> Package:
        """Install a copy of the package in `source`, beside other versions of the same model.

        With `anew` it takes the place of the only version there is, whatever became of its files.

        The copy is validated before it is moved into place by renaming, so that no reader ever sees
        half a package. The same version again mends its files.

        Raises
        ------
        PackageInvalid
            The package is not valid; what is installed stays as it is.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._changing() as temporary:
            copy = temporary / "new"
            # Before copying: nothing large, linked or untrusted is copied.
            self._trusted(read_package(source))
            shutil.copytree(source, copy)
            package = read_package(copy)
            name = package.manifest.name
            before = self.versions(name) if name in self.names() else ()
            if anew and not self._history(name).path.exists():
                before = ()
            if self._stays_alone(package, before, stage):
                _replace(self.folder / name, copy, temporary / "old")
            else:
                self._add_beside(package, before, stage=stage, by=by or By(), out=temporary / "old")
        return self.get(name, package.digest)

    def promote(self, name: str, wanted: str, by: By, *, gate: Gate | None) -> Version:
        """Serve another version from the next study on; the one before retires.

        Without a `gate` no evidence is asked for; the history says so.

        Raises
        ------
        Conflict
            Nothing shows that it is not worse than what is served.
        """
        with self._changing():
            version = found(self.versions(name), wanted, name=name)
            evidence = OVERRIDDEN
            if gate:
                last = self.measure(name)
                evidence = grounds(self.folder, name, version, served=last, gate=gate)
            by = replace(by, evidence=evidence)
            self._set(name, version, Stage.SERVED, action="promote", by=by)
        return version

    def rollback(self, name: str, by: By) -> Version:
        """Serve again the version that was served before."""
        with self._changing():
            self.versions(name)
            version = served_before(self._history(name).changes(), name=name)
            self._set(name, version, Stage.SERVED, action="rollback", by=by)
        return version

    def retire(self, name: str, wanted: str, by: By) -> Version:
        """Let a version read nothing more; the model itself rests when it was the served one."""
        with self._changing():
            version = found(self.versions(name), wanted, name=name)
            self._set(name, version, Stage.RETIRED, action="retire", by=by)
        return version

    def shadow(self, name: str, wanted: str, by: By, *, stop: bool = False) -> Version:
        """Let a version read what the served one reads, unseen; or no more.

        Raises
        ------
        Conflict
            Nothing is served beside it, or it is the served version itself.
        """
        with self._changing():
            versions = self.versions(name)
            version = found(versions, wanted, name=name)
            served = self.get(name)
            if served.digest == version.digest:
                msg = f"{name} {version.version} is served: there is nothing to compare it with"
                raise Conflict(msg)
            if self.get(name, version.digest).manifest.needs.others:
                msg = f"{name} {version.version} reads several series at once: no shadow can yet"
                raise Conflict(msg)
            stage, action = (Stage.CANDIDATE, "stop") if stop else (Stage.SHADOW, "shadow")
            self._set(name, version, stage, action=action, by=by)
        return version

    def remove(self, name: str) -> None:
        """Delete every version of a model, broken or not.

        Raises
        ------
        NotFound
            There is none of this name.
        """
        if name not in self.names():
            msg = f"there is no model {name!r}"
            raise NotFound(msg)
        with self._changing() as temporary:
            for folder in [self.folder / name, *self.folder.glob(f"{name}{_MARK}*")]:
                if folder.exists():
                    folder.rename(temporary / folder.name)
            # Last: without it a version in the folder of the model's name would be served.
            self._history(name).path.unlink(missing_ok=True)

    def remove_version(self, name: str, wanted: str, by: By) -> Version:
        """Delete one version that is not served.

        Raises
        ------
        NotFound
            There is none such.
        Conflict
            It is served.
        """
        with self._changing() as temporary:
            versions = self.versions(name)
            version = found(versions, wanted, name=name)
            if version.stage is Stage.SERVED:
                msg = f"{name} {version.version} is served: promote another one or retire it first"
                raise Conflict(msg)
            left = [each for each in versions if each != version]
            self._history(name).append(by.change("remove", left))
            (self.folder / version.folder).rename(temporary / "old")
        return version

    def _history(self, name: str) -> History:
        return History(self.folder / f"{name}{SUFFIX}")

    def _only(self, name: str) -> Version:
        """Return the version of a model without a history."""
        digest = number = ""
        with suppress(PackageInvalid):
            package = self._package(name, name)
            digest, number = package.digest, package.manifest.version
        return Version(digest=digest, version=number, folder=name, stage=Stage.SERVED)

    def _stays_alone(self, package: Package, before: tuple[Version, ...], stage: Stage) -> bool:
        """Whether there is no other version that could be used, and so no need of a history."""
        name = package.manifest.name
        if stage is not Stage.SERVED or self._history(name).path.exists():
            return False
        return all(version.digest in {"", package.digest} for version in before)

    def _add_beside(
        self, package: Package, before: tuple[Version, ...], *, stage: Stage, by: By, out: Path
    ) -> None:
        name = package.manifest.name
        version = Version(
            digest=package.digest,
            version=package.manifest.version,
            folder=f"{name}{_MARK}{package.digest[:_DIGEST_SHOWN]}",
            stage=stage,
        )
        for known in before:
            if known.digest == package.digest:  # its files are mended; only served changes a stage
                version = known
        _replace(self.folder / version.folder, package.folder, out)
        kept = version.stage if version in before and stage is not Stage.SERVED else stage
        others = [known for known in before if known.digest != version.digest]
        self._record(
            name, before, by.change("add", staged([*others, version], version.digest, kept))
        )

    def _set(self, name: str, version: Version, stage: Stage, *, action: str, by: By) -> None:
        if version.stage is stage:
            msg = f"{name} {version.version} ({version.digest[:_DIGEST_SHOWN]}) is {stage} already"
            raise Conflict(msg)
        if stage is Stage.SERVED:
            self.get(name, version.digest)  # one that is broken must not take over
        before = self.versions(name)
        self._record(name, before, by.change(action, staged(before, version.digest, stage)))

    def _record(self, name: str, before: tuple[Version, ...], change: Change) -> None:
        """Add a change to the history; one that begins with it notes first what was there."""
        history = self._history(name)
        there = change.model_copy(update={"action": "found", "versions": before})
        history.append(*([there] if before and not history.path.exists() else []), change)

    @contextmanager
    def _changing(self) -> Iterator[Path]:
        """Give a folder for what comes and goes; one change at a time, of all processes."""
        if not self.folder.is_dir():
            msg = "no model is installed"
            raise NotFound(msg)
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            with tempfile.TemporaryDirectory(prefix=".", dir=self.folder) as temporary:
                yield Path(temporary)
        finally:
            os.close(handle)

    def _trusted(self, package: Package) -> Package:
        if package.is_code and not self.trust.holds(package.digest):
            msg = (
                "it may run code of its own, so its digest must be trusted by an administrator: "
                f"wetread models add PATH --trust {package.digest}"
            )
            raise PackageInvalid(msg)
        return package

    def _package(self, name: str, folder: str) -> Package:
        signature = _signature(self.folder / folder)
        if folder in self._read and self._read[folder][0] == signature:
            return self._trusted(self._read[folder][1])
        package = self._trusted(read_package(self.folder / folder))
        if package.manifest.name != name:
            msg = f"the folder is named {name}, the model {package.manifest.name}"
            raise PackageInvalid(msg)
        self._read[folder] = (signature, package)
        return package

    def _entries(self) -> Iterator[Package | BrokenPackage]:
        for name in self.names():
            try:
                yield self.get(name)
            except NotFound:  # none of its versions is served
                continue
            except (PackageInvalid, OSError) as error:
                yield BrokenPackage(name=name, problems=tuple(str(error).splitlines()))


def _served(versions: tuple[Version, ...], name: str) -> Version:
    for version in versions:
        if version.stage is Stage.SERVED:
            return version
    msg = f"no version of {name} is served"
    raise NotFound(msg)


def _replace(target: Path, new: Path, old: Path) -> None:
    if target.exists():
        target.rename(old)
    new.rename(target)


def _signature(folder: Path) -> _Signature:
    """Name, size and time of every file: what changes when a package does."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return frozenset((str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files)
