"""Time from the last slice of a study stored to its results found in the PACS, split by stage.

A real PACS (Orthanc) forwards copies of one real MR study, one after the other, to a running
Wetread. Prints the median and the range of each stage, and the peak memory of each process.
"""

import argparse
import os
import platform
import statistics
import sys
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

from pydicom import dcmread, dcmwrite
from rich.console import Console
from rich.progress import track
from rich.table import Table

from imaging.errors import SetupError
from imaging.identity import StudyUID, derived_uid
from scripts.demo_folder import opened
from scripts.demo_follow import Followed, Follower
from scripts.demo_studies import DemoStudy
from scripts.orthanc import program
from scripts.run_demo import Demo

_LIMIT_S = 300.0
_MEGABYTE = 1024
_PROCESSES = ("serve", "node", "worker", "web")


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/bench_end_to_end.py", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="studies, beside one to warm up")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[1] / "demo-data")
    chosen = parser.parse_args(arguments)
    console = Console()
    executable = program()
    if executable is None:
        msg = "Orthanc is not installed: there is no PACS to come back to"
        raise SetupError(msg)
    stages: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as stops:
        folder = opened(chosen.folder.resolve(), stops)
        silent = Console(file=stops.enter_context(Path(os.devnull).open("w")))
        demo = Demo(folder, silent, stops)
        mr, _ = demo.make_studies()
        pacs = demo.start_pacs(executable)
        service = demo.start_wetread(pacs)
        follower = Follower(demo.web_port, silent, service.require_running)
        for run in track(range(chosen.runs + 1), "studies", console=console):
            study = _copy(mr, folder.studies / f"run-{run}", salt=str(run))
            pacs.store(study.paths)
            followed = follower.follow(study.study_uid, images=len(study.paths), limit_s=_LIMIT_S)
            for stage, seconds in _stages(followed).items() if run else ():
                stages[stage].append(seconds)
        memory = _peak_memory(str(folder.wetread / "wetread.toml"))
    _print(console, stages, memory)
    return 0


def _copy(study: DemoStudy, folder: Path, *, salt: str) -> DemoStudy:
    """Write the study under other UIDs, so that nothing of it is known."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for path in study.paths:
        ds = dcmread(path)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID",
                        "FrameOfReferenceUID"):  # fmt: skip
            setattr(ds, keyword, derived_uid(salt, str(ds.get(keyword))))
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        dcmwrite(folder / path.name, ds)
        paths.append(folder / path.name)
    study_uid = StudyUID(derived_uid(salt, study.study_uid))
    return DemoStudy(study_uid=study_uid, modality=study.modality, paths=tuple(paths))


def _stages(followed: Followed) -> dict[str, float]:
    """Return seconds by stage; the models of a study run side by side, so theirs may overlap."""
    detail = followed.detail
    item = detail.workitems[0]
    started = item.started_at or 0.0
    ended = item.ended_at or 0.0
    proven = max(delivery.proven_at or 0.0 for delivery in detail.deliveries)
    stages = {
        "receive all slices": followed.last_slice_at - detail.first_received_at,
        "found complete and scheduled": item.created_at - followed.last_slice_at,
        "wait for a worker": started - item.created_at,
        "analysis": ended - started,
        "last delivery and proof": proven - ended,
        "last slice to last result in the PACS": proven - followed.last_slice_at,
        "of it in the networks": sum(s for n, s in item.timings.items() if n.endswith("/model")),
    }
    return stages | {f"  {name}": seconds for name, seconds in sorted(item.timings.items())}


def _peak_memory(settings: str) -> dict[str, float]:
    """Return the peak resident memory, MB, of each process of the service."""
    found: dict[str, float] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\0")
            status = (folder / "status").read_text()
        except (OSError, UnicodeDecodeError):
            continue
        if settings in words and words[-2] in _PROCESSES:
            peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
            found[words[-2]] = int(peak.split()[1]) / _MEGABYTE
    return found


def _print(console: Console, stages: dict[str, list[float]], memory: dict[str, float]) -> None:
    runs = len(next(iter(stages.values())))
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    console.print(
        f"{runs} runs, {os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}, load {load}",
        highlight=False,
    )
    table = Table("stage", "median (s)", "least", "most")
    for stage, seconds in stages.items():
        middle, least, most = statistics.median(seconds), min(seconds), max(seconds)
        table.add_row(stage, f"{middle:.2f}", f"{least:.2f}", f"{most:.2f}")
    console.print(table)
    for name, megabytes in sorted(memory.items()):
        console.print(f"peak memory of {name}: {megabytes:.0f} MB", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
