"""A model package: a folder with `model.toml` and the network; code must be trusted."""

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imaging.errors import PackageInvalid
from imaging.findings import Algorithm
from imaging.identity import derived_uid
from models.bundle import METADATA, Bundle, is_bundle, read_bundle
from models.manifest import Kind, Manifest, Task
from models.manifest_file import FILE_NAME, read_manifest

_PICKLED_NAMES = frozenset((".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib"))
# Opcode PROTO and the protocols that have it.
_PICKLE_STARTS = frozenset(bytes((0x80, protocol)) for protocol in range(2, 6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A readable package; `digest` covers the name and content of every file in `folder`."""

    folder: Path
    manifest: Manifest
    digest: str

    @property
    def weights(self) -> Path:
        """The file with the network; a bundle is its whole folder."""
        bundle = self.manifest.kind is Kind.BUNDLE
        return self.folder if bundle else self.folder / self.manifest.file

    @property
    def is_code(self) -> bool:
        """Whether running the network runs code that came with the package."""
        return self.manifest.kind is Kind.BUNDLE

    def algorithm(self, settings_digest: str) -> Algorithm:
        """Return how results name this package; `device_uid` follows the digest."""
        manifest = self.manifest
        return Algorithm(
            name=manifest.name,
            version=manifest.version,
            title=manifest.title,
            manufacturer=manifest.manufacturer,
            digest=self.digest,
            settings_digest=settings_digest,
            device_uid=derived_uid("device", manifest.name, self.digest),
        )


def read_package(folder: Path) -> Package:
    """Return the package in `folder`; nothing in it is run.

    Raises
    ------
    PackageInvalid
        The message names every problem of the manifest and the files, one to a line.
    """
    kind = Kind.BUNDLE if is_bundle(folder) else Kind.ONNX
    problems = list(_file_problems(folder, kind))
    try:
        manifest = read_manifest(folder / FILE_NAME, kind)
    except PackageInvalid as error:
        raise PackageInvalid("\n".join([*problems, str(error)])) from error
    if kind is Kind.ONNX:
        problems += _weight_problems(folder, manifest.file)
    elif not problems:
        problems += _disagreements(read_bundle(folder), manifest)
    if problems:
        raise PackageInvalid("\n".join(problems))
    return Package(folder=folder, manifest=manifest, digest=digest_of(folder))


def _file_problems(folder: Path, kind: Kind) -> Iterator[str]:
    files = _files(folder)
    if kind is Kind.ONNX:
        yield from (
            f"{file.name} is pickled: it could run code" for file in files if _pickled(file)
        )
        return
    try:
        read_bundle(folder)
    except PackageInvalid as error:
        yield str(error)


def _disagreements(bundle: Bundle, manifest: Manifest) -> Iterator[str]:
    if bundle.classifies != (manifest.task is Task.CLASSIFICATION):
        yield f"model.task is {manifest.task}, {METADATA} says otherwise"
    images, named = bundle.images, 1 + len(manifest.needs.others)
    if named != len(images):
        yield (
            f"{METADATA} reads {len(images)} images ({', '.join(images)}), [[inputs]] names "
            f"{named if named > 1 else 'none'}: each must say which series of a study it is"
        )


def _weight_problems(folder: Path, file: str) -> list[str]:
    if not (folder / file).is_file():
        return [f"{file} is missing"]
    return [] if file.endswith(".onnx") else [f"{file} is not ONNX"]


def digest_of(folder: Path) -> str:
    """Return the SHA-256 over name and content of every file in `folder`, in name order."""
    total = hashlib.sha256()
    for file in _files(folder):
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").digest()
        total.update(file.relative_to(folder).as_posix().encode() + b"\0" + content)
    return total.hexdigest()


def _files(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix())
    links = [path.name for path in found if path.is_symlink()]
    if links:
        msg = f"links are not allowed in a package: {', '.join(links)}"
        raise PackageInvalid(msg)
    return [path for path in found if path.is_file()]


def _pickled(file: Path) -> bool:
    """Whether a file is a pickle by its name or, as many .bin files, by its content."""
    if file.suffix.lower() in _PICKLED_NAMES:
        return True
    if zipfile.is_zipfile(file):  # what torch.save writes
        with zipfile.ZipFile(file) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    with file.open("rb") as stream:
        return stream.read(2) in _PICKLE_STARTS
