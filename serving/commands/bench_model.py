"""`wetread models bench`: how long a model takes on a series in a folder, by stage and device."""

import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from imaging.errors import NotFound
from imaging.findings import Mask
from imaging.needs import Need, misfits
from imaging.read import load_volume
from imaging.stack import Stack, stacks_of
from models.device import Device
from models.infer import predict
from models.interpret import interpret
from models.package import Package
from models.registry import Registry
from models.runtime import Sessions, open_sessions
from serving.commands.tables import empty_table, output
from serving.folder import Found, read_folder
from serving.parts import Parts
from serving.settings import Settings

_STAGES = ("read", "prepare and bring back", "network", "interpret")
_KILOBYTE, _MEGABYTE = 1024, 1024 * 1024

_Seconds: TypeAlias = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Seconds to load the model, medians of seconds by stage, and peaks of memory in bytes.

    `children` is the largest process that ours started: a bundle, or one that decodes images.
    """

    load_s: float
    stages_s: Mapping[str, float]
    peak_bytes: int
    children_bytes: int


def bench(settings: Settings, name: str, folder: Path, *, runs: int) -> int:
    """Print how long an installed model takes on the largest series in `folder` that fits it."""
    registry = Parts(settings).registry
    needs = registry.get(name).manifest.needs
    stack, console = _fitting(folder, needs, settings), output()
    table = empty_table("device", "load", *_STAGES, "peak memory", "of its children")
    for device in open_sessions(
        settings.analysis.device, threads=settings.analysis.threads
    ).devices:
        found = _apart(settings, name, (stack, device, runs))
        seconds = [found.load_s, *(found.stages_s[stage] for stage in _STAGES)]
        memory = [found.peak_bytes, found.children_bytes]
        table.add_row(
            device.name,
            *(f"{each:.2f} s" for each in seconds),
            *(f"{each / _MEGABYTE:.0f} MB" for each in memory),
        )
    slices, rows, columns = stack.grid.shape
    console.print(f"{name} on {slices} x {rows} x {columns} voxels, medians of {runs} runs")
    console.print(table)
    return 0


def _apart(settings: Settings, name: str, what: tuple[Stack, Device, int]) -> Measured:
    """Measure in a process of its own, so that a peak of memory is that of one device alone."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measured, settings, name, what).result()


def measured(settings: Settings, name: str, what: tuple[Stack, Device, int]) -> Measured:
    """Return what one device takes for reading a stack, in this process."""
    stack, device, runs = what
    registry = Parts(settings).registry
    package = registry.get(name)
    sessions = Sessions(threads=settings.analysis.threads, devices=(device,))
    started = time.perf_counter()
    sessions.load(package)
    loaded = time.perf_counter() - started
    each = [_once(registry, package, stack=stack, sessions=sessions) for _ in range(runs)]
    del sessions  # ends the process of a bundle, so that its peak counts
    return Measured(
        load_s=loaded,
        stages_s={stage: statistics.median(one[stage] for one in each) for stage in _STAGES},
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KILOBYTE,
        children_bytes=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _KILOBYTE,
    )


def _once(registry: Registry, package: Package, *, stack: Stack, sessions: Sessions) -> _Seconds:
    """Read a stack once; masks of other models are found before, and not counted."""
    needed = load_volume(stack)
    masks: dict[str, Mask] = {}
    for name in package.manifest.uses:
        other = registry.get(name)
        said = predict(other, needed, sessions=sessions, masks={})
        found = interpret(said, other, needed, result_key="bench", masks={})
        if found.segments:
            masks[name] = found.segments[0].mask
    start = time.perf_counter()
    volume = load_volume(stack, unit=package.manifest.needs.unit)
    read = time.perf_counter()
    prediction = predict(package, volume, sessions=sessions, masks=masks)
    predicted = time.perf_counter()
    interpret(prediction, package, volume, result_key="bench", masks=masks)
    end = time.perf_counter()
    network = prediction.model_seconds
    times = (read - start, predicted - read - network, network, end - predicted)
    return dict(zip(_STAGES, times, strict=True))


def _fitting(folder: Path, needs: Need, settings: Settings) -> Stack:
    """Return the largest stack in a folder that meets the needs."""
    if not folder.is_dir():
        msg = f"{folder} is not a folder"
        raise NotFound(msg)
    series: dict[str, list[Found]] = {}
    for item in read_folder(folder):
        if isinstance(item, Found):
            series.setdefault(item.header.series.series_uid, []).append(item)
    stacks = [stack for found in series.values() for stack in _stacks(found, settings)]
    fitting = [stack for stack in stacks if not misfits(needs, stack)]
    for stack in stacks if not fitting else ():
        print("; ".join(why.text for why in misfits(needs, stack)), file=sys.stderr)
    if not fitting:
        msg = f"no series in {folder} is what the model needs"
        raise NotFound(msg)
    return max(fitting, key=lambda stack: (len(stack.instances), stack.grid.shape))


def _stacks(found: Sequence[Found], settings: Settings) -> list[Stack]:
    parts = stacks_of([item.header for item in found], settings.geometry.tolerances)
    return [part for part in parts if isinstance(part, Stack)]
