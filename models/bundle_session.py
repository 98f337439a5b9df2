"""A MONAI bundle that is loaded: a child process of its own, asked one volume at a time."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from imaging.errors import InferenceFailed, PackageInvalid
from models.bundle import read_bundle
from models.device import Device

_CHILD = Path(__file__).with_name("bundle_child.py")
_NEEDED = ("torch", "monai", "nibabel")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BundleAnswer:
    """What a bundle says: (channel, slice, row, column), and its affine to LPS as in `Grid`.

    Of classes it is (image, class): one image for each slice, or the series as one.
    """

    voxels: NDArray[np.float32]
    affine: NDArray[np.float64]


class BundleSession:
    """A bundle, loaded on one device.

    It runs in a folder of its own with links to the bundle's files, so that what it writes beside
    them does not change the package.
    """

    def __init__(self, folder: Path, device: Device, threads: int) -> None:
        if lacking := missing():
            msg = f"a MONAI bundle needs {', '.join(lacking)}: pip install 'wetread[monai]'"
            raise PackageInvalid(msg)
        bundle = read_bundle(folder)
        config = bundle.config.relative_to(folder)
        reads = "slices" if bundle.planar else "volume"
        how = f"{reads}-{'classes' if bundle.classifies else 'outline'}"
        self._place = tempfile.TemporaryDirectory(prefix="wetread-bundle-")
        place = Path(self._place.name)
        for path in folder.iterdir():
            (place / path.name).symlink_to(path.resolve())
        self._process = _started(place, (str(config), how, device.name, str(threads)))
        weakref.finalize(self, _stop, self._process, self._place)
        self._answered(PackageInvalid)

    def run(
        self, images: Sequence[NDArray[np.float32]], affine: NDArray[np.float64]
    ) -> BundleAnswer:
        """Return what the bundle says about images on one grid; raises `InferenceFailed`."""
        with tempfile.TemporaryDirectory(prefix="wetread-volume-") as temporary:
            result = Path(temporary) / "result.npy"
            given = [Path(temporary) / f"image-{number}.npy" for number in range(len(images))]
            for path, voxels in zip(given, images, strict=True):
                np.save(path, np.ascontiguousarray(voxels, dtype=np.float32))
            question = {
                "images": list(map(str, given)),
                "affine": affine.tolist(),
                "result": str(result),
            }
            try:
                _pipe(self._process.stdin).write(json.dumps(question) + "\n")
                _pipe(self._process.stdin).flush()
            except OSError as error:
                msg = "the process of the bundle has ended"
                raise InferenceFailed(msg) from error
            answer = self._answered(InferenceFailed)
            return BundleAnswer(
                voxels=np.load(result, mmap_mode="r"),  # the file goes, what it holds stays
                affine=np.array(answer["affine"]),
            )

    def _answered(self, kind: type[PackageInvalid | InferenceFailed]) -> dict[str, list[float]]:
        line = _pipe(self._process.stdout).readline()
        answer = json.loads(line) if line else {"error": "its process has ended"}
        if "error" in answer:
            msg = f"the bundle cannot be {_DONE[kind]}: {answer['error']}"
            raise kind(msg)
        return dict(answer)


_DONE: dict[type[PackageInvalid | InferenceFailed], str] = {
    PackageInvalid: "loaded",
    InferenceFailed: "run on this volume",
}


def missing() -> list[str]:
    """Return which of the libraries that bundles need are not installed."""
    return [name for name in _NEEDED if importlib.util.find_spec(name) is None]


def _started(place: Path, arguments: tuple[str, ...]) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WETREAD_")}
    return subprocess.Popen(  # noqa: S603 - our own file; the bundle was trusted
        [sys.executable, "-P", "-B", str(_CHILD), str(place), str(place / arguments[0]),
         *arguments[1:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=place,
        env=environment,
        text=True,
    )  # fmt: skip


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None  # both were asked for
    return stream


def _stop(process: subprocess.Popen[str], place: tempfile.TemporaryDirectory[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        _close(stream)
    place.cleanup()


def _close(stream: IO[str] | None) -> None:
    try:
        _pipe(stream).close()
    except OSError:
        return  # what was still to be written has no reader
