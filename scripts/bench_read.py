"""Reading a series into an array, side by side with SimpleITK, pydicom and dcm2niix.

    python -m scripts.bench_read [--slices 300] [--size 512] [--rounds 5] [--coding native rle ...]

Every reader gets the same files in the same order, in turns, and its values are compared with ours.
"array" is from known files (and for us known headers) to voxels in real-world values; "series" is
from a folder: find, sort, check, read. dcm2niix is a process that also writes what it read.
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from imaging.frames import read_headers
from imaging.identity import derived_uid
from imaging.read import load_volume
from imaging.stack import Stack, stacks_of

Array = NDArray[np.float32]
Reader = Callable[[], Array | sitk.Image | None]

_MIB = 1 << 20
_INTERCEPT = -1024
_PEAK = """
import resource, sys
from pathlib import Path
from imaging.frames import read_headers
from imaging.read import load_volume
from imaging.stack import stacks_of
def peak(): return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10
paths = sorted(Path(sys.argv[1]).iterdir())
(stack,) = stacks_of([header for path in paths for header in read_headers(path)])
before = peak()
volume = load_volume(stack)
print(before, peak(), volume.voxels.nbytes)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A folder of files in slice order, and their stack."""

    folder: Path
    paths: tuple[Path, ...]
    stack: Stack


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the series, read them in turns, print medians and ratios."""
    options = _options(arguments)
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}")
    print(f"{options.slices} x {options.size} x {options.size}, {options.rounds} rounds")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for coding in options.coding:
            series = _written(Path(folder) / coding, coding, (options.slices, options.size))
            _compare(coding, series, options.rounds)
            shutil.rmtree(series.folder)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to write the series for a while")
    parser.add_argument("--coding", nargs="+", choices=list(_CODINGS), default=list(_CODINGS))
    return parser.parse_args(arguments)


def _compare(coding: str, series: Series, rounds: int) -> None:
    readers = _readers(series)
    expected = load_volume(series.stack).voxels
    for name, read in readers.items():
        if not _same(read(), expected):
            print(f"{name}: other values than ours")
    del expected
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(rounds):
        for name, read in readers.items():
            start = time.perf_counter()
            read()
            seconds[name].append(time.perf_counter() - start)
    _print(coding, seconds, series)


def _same(found: Array | sitk.Image | None, expected: Array) -> bool:
    if found is None:
        return True  # written by a process of its own
    array = sitk.GetArrayViewFromImage(found) if isinstance(found, sitk.Image) else found
    return np.array_equal(array, expected)


def _print(coding: str, seconds: Mapping[str, list[float]], series: Series) -> None:
    print(f"\n{coding}  (load {os.getloadavg()[0]:.1f})")
    middle = {name: statistics.median(times) for name, times in seconds.items()}
    for name, times in seconds.items():
        ours = middle["wetread series" if name.endswith("series") else "wetread array"]
        print(
            f"  {name:18} {middle[name] * 1000:7.0f} ms "
            f"[{min(times) * 1000:.0f}-{max(times) * 1000:.0f}]  {middle[name] / ours:5.2f} x ours"
        )
    measured = subprocess.run(
        [sys.executable, "-c", _PEAK, str(series.folder)],
        capture_output=True, check=True, text=True, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    before, peak, array = map(int, measured.stdout.split())
    print(
        f"  peak memory {peak / _MIB:.0f} MiB for an array of {array / _MIB:.0f} MiB: "
        f"{peak / array:.2f} x, of which {before / _MIB:.0f} MiB were there before"
    )


def _readers(series: Series) -> dict[str, Reader]:
    names = [str(path) for path in series.paths]
    readers: dict[str, Reader] = {
        "wetread array": lambda: load_volume(series.stack).voxels,
        "SimpleITK array": lambda: _sitk(names),
        "pydicom array": lambda: _pydicom(series.paths),
        "wetread series": lambda: load_volume(_stack(series.folder)).voxels,
        "SimpleITK series": lambda: _sitk(
            sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(series.folder))
        ),
    }
    program = shutil.which("dcm2niix")
    if program and _dcm2niix(program, series.folder):
        readers["dcm2niix series"] = lambda: _converted(program, series.folder)
    else:
        print("dcm2niix is not installed, or was built without this codec")
    return readers


def _stack(folder: Path) -> Stack:
    (stack,) = stacks_of([h for path in sorted(folder.iterdir()) for h in read_headers(path)])
    assert isinstance(stack, Stack), stack
    return stack


def _sitk(names: Sequence[str]) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(names)
    image: sitk.Image = reader.Execute()
    return image  # an array view of it is free, but lives no longer than the image


def _pydicom(paths: Sequence[Path]) -> Array:
    voxels: Array | None = None
    for index, path in enumerate(paths):
        ds = dcmread(path)
        if voxels is None:
            voxels = np.empty((len(paths), ds.Rows, ds.Columns), np.float32)
        voxels[index] = ds.pixel_array * np.float32(ds.RescaleSlope) + np.float32(_INTERCEPT)
    assert voxels is not None
    return voxels


def _converted(program: str, folder: Path) -> None:
    if not _dcm2niix(program, folder):
        msg = "dcm2niix failed"
        raise RuntimeError(msg)


def _dcm2niix(program: str, folder: Path) -> bool:
    with tempfile.TemporaryDirectory() as out:
        command = [program, "-z", "n", "-b", "n", "-o", out, str(folder)]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _written(folder: Path, coding: str, shape: tuple[int, int]) -> Series:
    """Write a smooth body with noise as CT, so that compression has its usual work."""
    slices, size = shape
    folder.mkdir()
    noise = np.random.default_rng(1)
    row, column = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    paths = []
    for index in range(slices):
        body = 1000 * (row**2 + column**2 < 0.8 - 0.3 * index / slices)
        organs = 60 * np.sin(9 * row + index / 20) * np.cos(7 * column)
        stored = np.clip(body * (1 + organs / 1000) + noise.normal(20, 12, body.shape), 0, 4095)
        ds = _slice(index, stored.astype("<u2"), coding)
        paths.append(folder / f"{index:04}.dcm")
        dcmwrite(paths[-1], ds, enforce_file_format=True)
    return Series(folder=folder, paths=tuple(paths), stack=_stack(folder))


def _slice(index: int, stored: NDArray[np.uint16], coding: str) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.Modality = CTImageStorage, "CT"
    ds.SOPInstanceUID = derived_uid("bench", coding, str(index))
    ds.StudyInstanceUID, ds.SeriesInstanceUID = derived_uid("bench"), derived_uid("bench", coding)
    ds.FrameOfReferenceUID = derived_uid("bench", "frame")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.PatientName, ds.PatientID, ds.SeriesNumber = "Bench", "BENCH", 1
    ds.InstanceNumber, ds.AcquisitionNumber = index + 1, 1
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, index]
    ds.PixelSpacing, ds.SliceThickness = [0.7, 0.7], 1
    ds.Rows, ds.Columns = stored.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleSlope, ds.RescaleIntercept = 1, _INTERCEPT
    ds.file_meta = FileMetaDataset()
    syntax, encode = _CODINGS[coding]
    ds.file_meta.TransferSyntaxUID = syntax
    if encode is not None:
        ds.PixelData = encapsulate([bytes(encode(stored))])
        ds["PixelData"].VR = "OB"
        return ds
    ds.PixelData = stored.tobytes()
    if coding == "rle":
        ds.compress(RLELossless, generate_instance_uid=False)
    return ds


_CODINGS: Mapping[str, tuple[UID, Callable[[NDArray[np.uint16]], bytes] | None]] = {
    "native": (ExplicitVRLittleEndian, None),
    "rle": (ExplicitVRLittleEndian, None),
    "jpeg": (
        JPEGLosslessSV1,
        lambda stored: bytes(
            imagecodecs.jpeg8_encode(stored, lossless=True, predictor=1, bitspersample=12)
        ),
    ),
    "jpeg-ls": (JPEGLSLossless, lambda stored: bytes(imagecodecs.jpegls_encode(stored))),
    "j2k": (
        JPEG2000Lossless,
        lambda stored: bytes(
            imagecodecs.jpeg2k_encode(stored, codecformat="J2K", reversible=True, bitspersample=12)
        ),
    ),
}


if __name__ == "__main__":
    sys.exit(main())
