"""Installing the viewer: OHIF as it is published, checked, pruned and moved under our address.

The published build expects to be at the root of a server; what says so is replaced, nothing else.
"""

import base64
import gzip
import hashlib
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from imaging.errors import SetupError

NAME, VERSION = "@ohif/app", "3.12.10"
INTEGRITY = (
    "0kuF66Mq9c9dMD++bUsTjMrJpXJwaZhz9B4uS244DawAjSkTwIYFU93pxPuRUQixaRi7QAHlF3Fe1qudBlZrmA=="
)
ROOT = "/viewer"
COMPRESSED = frozenset((".css", ".html", ".js", ".json", ".svg", ".wasm", ".xml"))
_DIST = "package/dist/"
# Not for reading: a segmentation tool whose weights are elsewhere, microscopy, maps of sources.
_LEFT_OUT = re.compile(
    r"(ort/|dicom-microscopy-viewer/|.*\.map$|.*\.gz$|sw\.js$|init-service-worker\.js$)"
)
_PUBLIC_PATH = re.compile(r'(__webpack_require__\.p = )"/"')
_ATTRIBUTE = re.compile(r'((?:href|src|content)=")/(?!/)')
_PUBLIC_URL = re.compile(r"(window\.PUBLIC_URL = )'/'")
_SERVICE_WORKER = re.compile(r'<script[^>]*src="[^"]*init-service-worker\.js"[^>]*></script>')
_FETCH_LIMIT_S = 600


def folder_of(data_folder: Path) -> Path:
    """Return where the installed viewer lies."""
    return data_folder / "viewer" / VERSION


def installed(data_folder: Path) -> bool:
    """Whether the viewer is installed."""
    return (folder_of(data_folder) / "index.html").is_file()


def install(data_folder: Path, tarball: Path | None = None) -> Path:
    """Install the viewer and return its folder; from npm unless a package file is given.

    Raises
    ------
    SetupError
        It cannot be fetched or is not the one that is known.
    """
    target = folder_of(data_folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        package = tarball or _fetched(Path(work))
        _require_known(package)
        made = Path(work) / "made"
        _unpack(package, made)
        _move_under_root(made)
        _compress(made)
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)
    return target


def _fetched(work: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        msg = (
            f"npm is not installed. Install it, or fetch {NAME} {VERSION} elsewhere (npm pack "
            f"{NAME}@{VERSION}) and run: wetread viewer install FILE"
        )
        raise SetupError(msg)
    command = [npm, "pack", f"{NAME}@{VERSION}", "--pack-destination", str(work), "--silent"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_FETCH_LIMIT_S, cwd=work)  # noqa: S603
        return next(work.glob("*.tgz"))
    except (subprocess.SubprocessError, OSError, StopIteration) as error:
        msg = f"npm cannot fetch {NAME} {VERSION}: is there a network? ({type(error).__name__})"
        raise SetupError(msg) from error


def _require_known(package: Path) -> None:
    try:
        with package.open("rb") as file:
            digest = hashlib.file_digest(file, "sha512").digest()
    except OSError as error:
        msg = f"{package} cannot be read: {error.strerror}"
        raise SetupError(msg) from error
    if base64.b64encode(digest).decode() != INTEGRITY:
        msg = f"{package.name} is not {NAME} {VERSION} as it was published: its SHA-512 differs"
        raise SetupError(msg)


def _unpack(package: Path, made: Path) -> None:
    with tarfile.open(package) as archive:
        for member in _wanted(archive):
            archive.extract(member, made, filter="data")


def _wanted(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        name = member.name.removeprefix(_DIST)
        licence = member.name == "package/LICENSE"
        if member.isfile() and (licence or name != member.name) and not _LEFT_OUT.match(name):
            yield member.replace(name="LICENSE" if licence else name)


def _move_under_root(made: Path) -> None:
    for file in sorted(made.rglob("*")):
        change = {".js": _script, ".css": _style, ".html": _page, ".json": _assets, ".xml": _assets}
        if file.suffix in change and file.is_file():
            text = file.read_text(encoding="utf-8", errors="surrogateescape")
            moved = change[file.suffix](text)
            if moved != text:
                file.write_text(moved, encoding="utf-8", errors="surrogateescape")


def _script(text: str) -> str:
    return _PUBLIC_PATH.sub(rf'\1"{ROOT}/"', text)


def _style(text: str) -> str:
    return re.sub(r"url\(/(?!/)", f"url({ROOT}/", text)


def _page(text: str) -> str:
    text = _PUBLIC_URL.sub(rf"\1'{ROOT}/'", _SERVICE_WORKER.sub("", text))
    return _ATTRIBUTE.sub(rf"\1{ROOT}/", text)


def _assets(text: str) -> str:
    return text.replace('"/assets/', f'"{ROOT}/assets/')


def _compress(made: Path) -> None:
    """Compress once rather than for each request: the application is 15 MB."""
    for file in sorted(made.rglob("*")):
        if file.is_file() and file.suffix in COMPRESSED:
            packed = file.with_name(file.name + ".gz")
            packed.write_bytes(gzip.compress(file.read_bytes(), 6, mtime=0))
