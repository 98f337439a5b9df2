"""Part 10 files on disk. Bytes of the data set are kept exactly as they were received.

A file's name holds the digest of its data set, so no file is ever replaced by other content.
"""

import errno
import hashlib
import os
import shutil
import struct
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import IO

from imaging.errors import NotFound, SetupError, StorageFull
from imaging.identity import derived_uid

IMPLEMENTATION_UID = derived_uid("implementation class")
IMPLEMENTATION_VERSION = "WETREAD"
_PREFIX = bytes(128) + b"DICM"
_INCOMING = ".incoming"
_KNOWN_FOLDERS = 10_000
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where an instance belongs."""

    tenant: str
    study_uid: str
    series_uid: str
    instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A data set as bytes, with what its file meta information must say (PS3.10 7.1)."""

    dataset: bytes
    sop_class_uid: str
    instance_uid: str
    transfer_syntax_uid: str

    def part10(self) -> bytes:
        """Return preamble, prefix and file meta; the data set follows."""
        meta = b"".join(
            (
                struct.pack("<HH2sHI", 2, 1, b"OB", 0, 2) + b"\0\1",
                _element(0x02, b"UI", self.sop_class_uid),
                _element(0x03, b"UI", self.instance_uid),
                _element(0x10, b"UI", self.transfer_syntax_uid),
                _element(0x12, b"UI", IMPLEMENTATION_UID),
                _element(0x13, b"SH", IMPLEMENTATION_VERSION),
            )
        )
        return _PREFIX + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta)) + meta


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A file in the archive: path relative to its folder; size and digest are of the data set."""

    path: str
    size: int
    sha256: str


class Space(IntEnum):
    """How much free space there is."""

    ENOUGH = 0
    """Everything goes on."""
    LOW = 1
    """Open associations go on, new ones are refused."""
    SHORT = 2
    """Nothing is taken in, and analyses wait."""


class Archive:
    """Part 10 files under one folder.

    `durable`: `put` returns only after file and folders are on stable storage. `reserve_bytes` is
    the free space below which nothing more is taken in, `low_bytes` that below which nobody new is
    let in.
    """

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = True,
        reserve_bytes: int = 1 << 30,
        low_bytes: int = 0,
    ) -> None:
        self.folder = folder
        self._durable, self._reserve = durable, reserve_bytes
        self._low = max(low_bytes, reserve_bytes)
        self._incoming = folder / _INCOMING
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._synced: set[Path] = set()

    def put(self, address: Address, encoded: Encoded) -> Kept:
        """Write the instance and return where it is; writing the same again changes nothing.

        Raises
        ------
        StorageFull
            The disk is full.
        SetupError
            The disk or folder cannot be written.
        """
        sha256 = hashlib.sha256(encoded.dataset).hexdigest()
        name = f"{address.instance_uid}-{sha256[:12]}.dcm"
        path = Path(address.tenant, address.study_uid, address.series_uid, name)
        try:
            try:
                self._write(self.folder / path, encoded)
            except FileNotFoundError:  # its folder was removed, with the study that was in it
                self._synced.clear()
                self._write(self.folder / path, encoded)
        except OSError as error:
            kind = StorageFull if error.errno in _NO_SPACE else SetupError
            msg = f"the archive cannot be written: {error.strerror}"
            raise kind(msg) from error
        return Kept(path=path.as_posix(), size=len(encoded.dataset), sha256=sha256)

    def file(self, path: str) -> Path:
        """Return the full path of a file in the archive."""
        return self.folder / path

    def read(self, path: str) -> bytes:
        """Return a whole Part 10 file."""
        try:
            return self.file(path).read_bytes()
        except FileNotFoundError as error:
            msg = f"the archive has no file {path}"
            raise NotFound(msg) from error

    def spool(self) -> IO[bytes]:
        """Return a file without a name on the archive's disk; it is gone when it is closed."""
        return tempfile.TemporaryFile(dir=self._incoming)

    def holds(self, path: str) -> bool:
        """Whether a file is there."""
        return self.file(path).exists()

    def remove(self, path: str) -> None:
        """Delete a file that nothing refers to, and folders that it leaves empty."""
        file = self.file(path)
        file.unlink(missing_ok=True)
        with suppress(OSError):  # not empty, or gone already
            for folder in (file.parent, file.parent.parent):
                folder.rmdir()

    def free_bytes(self) -> int:
        """Free space for this process on the archive's disk."""
        return shutil.disk_usage(self.folder).free

    def space(self) -> Space:
        """How short of space the archive is."""
        free = self.free_bytes()
        if free < self._reserve:
            return Space.SHORT
        return Space.LOW if free < self._low else Space.ENOUGH

    def require_space(self, size: int = 0) -> None:
        """Raise `StorageFull` unless `size` more bytes leave the reserve untouched."""
        if self.free_bytes() - size < self._reserve:
            raise StorageFull

    def sweep(self, *, before: float) -> int:
        """Remove what a killed process left half written before this Unix time; how many."""
        stale = [f for f in self._incoming.iterdir() if f.stat().st_mtime < before]
        for file in stale:
            file.unlink(missing_ok=True)
        return len(stale)

    def _write(self, target: Path, encoded: Encoded) -> None:
        self._ensure(target.parent)
        handle, temporary = tempfile.mkstemp(dir=self._incoming)
        try:
            with os.fdopen(handle, "wb", buffering=0) as file:
                _write_all(file.fileno(), encoded.part10(), encoded.dataset)
                if self._durable:
                    os.fsync(file.fileno())
            Path(temporary).replace(target)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
        self._sync(target.parent)

    def _ensure(self, folder: Path) -> None:
        """Make a folder whose name is itself on stable storage.

        That a folder exists does not say that the thread which made it has synced its parent, so
        only what this object has synced counts.
        """
        if folder in self._synced or folder == self.folder.parent:
            return
        self._ensure(folder.parent)
        folder.mkdir(exist_ok=True)
        self._sync(folder.parent)
        if len(self._synced) > _KNOWN_FOLDERS:
            self._synced.clear()
        self._synced.add(folder)

    def _sync(self, folder: Path) -> None:
        if not self._durable:
            return
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _write_all(handle: int, head: bytes, body: bytes) -> None:
    """Write both; `writev` may stop early and takes at most 2 GiB."""
    parts = [memoryview(head), memoryview(body)]
    while parts:
        written = os.writev(handle, parts)
        while parts and written >= len(parts[0]):
            written -= len(parts.pop(0))
        if parts:
            parts[0] = parts[0][written:]


def _element(number: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value
