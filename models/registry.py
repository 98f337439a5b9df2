"""The folder of installed packages: list, get, add, remove."""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from imaging.errors import NotFound, PackageInvalid
from models.package import Package, read_package
from models.trust import FILE_NAME as TRUSTED
from models.trust import Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenPackage:
    """An installed package that cannot be used, and why."""

    name: str
    problems: tuple[str, ...]


_Signature = frozenset[tuple[str, int, int]]


@dataclass(frozen=True, slots=True)
class Registry:
    """Packages in `folder`, one subfolder each, named like the package."""

    folder: Path
    _read: dict[str, tuple[_Signature, Package]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def trust(self) -> Trust:
        """Which packages may run code."""
        return Trust(self.folder / TRUSTED)

    def packages(self) -> tuple[Package, ...]:
        """Return the usable packages in name order."""
        return tuple(entry for entry in self._entries() if isinstance(entry, Package))

    def broken(self) -> tuple[BrokenPackage, ...]:
        """Return the packages that cannot be used; they do not hide the others."""
        return tuple(entry for entry in self._entries() if isinstance(entry, BrokenPackage))

    def get(self, name: str) -> Package:
        """Return an installed package, read and hashed anew when one of its files has changed.

        Raises
        ------
        NotFound
            There is none of this name.
        PackageInvalid
            It is installed but broken.
        """
        if name not in self._names():
            msg = f"there is no model {name!r}"
            raise NotFound(msg)
        signature = _signature(self.folder / name)
        if name in self._read and self._read[name][0] == signature:
            return self._trusted(self._read[name][1])
        package = self._trusted(read_package(self.folder / name))
        if package.manifest.name != name:
            msg = f"the folder is named {name}, the model {package.manifest.name}"
            raise PackageInvalid(msg)
        self._read[name] = (signature, package)
        return package

    def add(self, source: Path) -> Package:
        """Install a copy of the package in `source`, in place of one of the same name if any.

        The copy is validated before it is moved into place by renaming, so that no reader ever sees
        half a package.

        Raises
        ------
        PackageInvalid
            The package is not valid; what is installed stays as it is.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=self.folder) as temporary:
            copy = Path(temporary) / "new"
            # Before copying: nothing large, linked or untrusted is copied.
            self._trusted(read_package(source))
            shutil.copytree(source, copy)
            name = read_package(copy).manifest.name
            target = self.folder / name
            if target.exists():
                target.rename(Path(temporary) / "old")
            copy.rename(target)
        return self.get(name)

    def remove(self, name: str) -> None:
        """Delete an installed package, broken or not.

        Raises
        ------
        NotFound
            There is none of this name.
        """
        if name not in self._names():
            msg = f"there is no model {name!r}"
            raise NotFound(msg)
        with tempfile.TemporaryDirectory(prefix=".", dir=self.folder) as temporary:
            (self.folder / name).rename(Path(temporary) / "old")

    def _trusted(self, package: Package) -> Package:
        if package.is_code and not self.trust.holds(package.digest):
            msg = (
                "it may run code of its own, so its digest must be trusted by an administrator: "
                f"wetread models add PATH --trust {package.digest}"
            )
            raise PackageInvalid(msg)
        return package

    def _names(self) -> tuple[str, ...]:
        if not self.folder.is_dir():
            return ()
        return tuple(
            sorted(
                path.name
                for path in self.folder.iterdir()
                if path.is_dir() and not path.name.startswith(".")
            )
        )

    def _entries(self) -> tuple[Package | BrokenPackage, ...]:
        return tuple(self._entry(name) for name in self._names())

    def _entry(self, name: str) -> Package | BrokenPackage:
        try:
            return self.get(name)
        except (PackageInvalid, OSError) as error:
            return BrokenPackage(name=name, problems=tuple(str(error).splitlines()))


def _signature(folder: Path) -> _Signature:
    """Name, size and time of every file: what changes when a package does."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return frozenset((str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files)
