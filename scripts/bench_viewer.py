"""Opening a study in the full viewer, from Wetread and from Orthanc, in turns.

    python -m scripts.bench_viewer [--rounds 5] [--viewer FILE] [--folder DIR]

A CT study of 300 slices of 512 x 512. The viewer is the same in both cases, served by Wetread; only
its source of images differs. Each round is a browser with nothing kept. Prints medians of the
seconds until the first image is drawn and until every slice is here, of requests and bytes over
DICOMweb, and ratios.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Route, sync_playwright

from imaging.errors import SetupError
from scripts.bench_dicomweb import orthanc_with, study, wetread_with
from scripts.loopback import HOST
from serving.viewer.configuration import app_config
from serving.viewer.package import install

_SLICES, _SIZE = 300, 512
_LIMIT_MS = 120_000
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-web-security",  # Orthanc is another origin; the same in both cases
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)
_DRAWN = """() => {
  const canvas = document.querySelector('canvas.cornerstone-canvas');
  if (!canvas || !canvas.width || !canvas.height) return 0;
  const size = [canvas.width >> 1, canvas.height >> 1, 64, 64];
  const pixels = canvas.getContext('2d').getImageData(...size).data;
  return pixels.some((value, n) => n % 4 < 3 && value > 0) ? performance.now() : 0;
}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What one opening took: seconds from navigation, and what went over DICOMweb."""

    first_image_s: float
    all_slices_s: float
    requests: int
    megabytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the viewer gets its images from."""

    name: str
    page: str
    dicomweb: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Store the study in both servers, open it from both in turns, print what it took."""
    parser = argparse.ArgumentParser(prog="scripts/bench_viewer.py", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--viewer", type=Path, default=None, help="the package, if npm is not there"
    )
    parser.add_argument("--folder", type=Path, default=None, help="where the data go for the time")
    options = parser.parse_args(arguments)
    with ExitStack() as stops:
        folder = Path(stops.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
        opened = study("viewer", _SLICES, _SIZE)
        install(folder / "wetread", options.viewer)
        theirs = orthanc_with([opened], folder, stops)
        ours = wetread_with([opened], folder, stops)
        page = f"http://{HOST}:{ours}/viewer/viewer?StudyInstanceUIDs={opened.study_uid}"
        sources = (
            Source(name="Wetread", page=page, dicomweb=f"http://{HOST}:{ours}/dicomweb"),
            Source(name="Orthanc", page=page, dicomweb=f"http://{HOST}:{theirs}/dicom-web"),
        )
        print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the start")
        _print(_rounds(stops, sources, slices=_SLICES, rounds=options.rounds))
        print(f"load {os.getloadavg()[0]:.1f} at the end")
    return 0


def _rounds(
    stops: ExitStack, sources: Sequence[Source], *, slices: int, rounds: int
) -> dict[str, list[Opening]]:
    program = shutil.which("chromium")
    if program is None:
        msg = "chromium is not installed"
        raise SetupError(msg)
    playwright = stops.enter_context(sync_playwright())
    browser = playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
    stops.callback(browser.close)
    found: dict[str, list[Opening]] = {source.name: [] for source in sources}
    for number in range(rounds + 1):
        for source in sources if number % 2 else reversed(sources):
            opening = _open(browser, source, slices=slices)
            if number:  # the first of each warms the page cache
                found[source.name].append(opening)
                print(source.name, opening, flush=True)
    return found


def _open(browser: Browser, source: Source, *, slices: int) -> Opening:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, bypass_csp=True)
    context.set_default_timeout(_LIMIT_MS)
    page = context.new_page()
    asked: set[str] = set()
    frames: set[str] = set()
    sizes: dict[str, float] = {}
    network = context.new_cdp_session(page)
    network.send("Network.enable")

    def begun(event: dict[str, Any]) -> None:
        request, url = str(event["requestId"]), str(event["request"]["url"])
        if url.startswith(source.dicomweb):
            asked.add(request)
            if "/frames/" in url:
                frames.add(request)

    def ended(event: dict[str, Any]) -> None:
        sizes[str(event["requestId"])] = float(event["encodedDataLength"])

    network.on("Network.requestWillBeSent", begun)
    network.on("Network.loadingFinished", ended)
    page.route("**/app-config.js", lambda route: _configure(route, source))
    page.goto(source.page, wait_until="commit")
    first_ms = page.wait_for_function(_DRAWN, polling=20).json_value()
    while len(frames & sizes.keys()) < slices:
        page.wait_for_timeout(20)
    all_ms = page.evaluate("performance.now()")
    context.close()
    return Opening(
        first_image_s=round(first_ms / 1000, 2),
        all_slices_s=round(all_ms / 1000, 2),
        requests=len(asked),
        megabytes=round(sum(sizes.get(each, 0.0) for each in asked) / 1e6, 2),
    )


def _configure(route: Route, source: Source) -> None:
    """Tell the viewer where its images are."""
    script = app_config().replace('"/dicomweb"', f'"{source.dicomweb}"')
    route.fulfill(body=script, content_type="text/javascript")


def _print(found: dict[str, list[Opening]]) -> None:
    names = ("first_image_s", "all_slices_s", "requests", "megabytes")
    print(f"{'median of':<16} {'Wetread':>10} {'Orthanc':>10} {'ratio':>7}")
    for name in names:
        ours, theirs = (
            statistics.median(getattr(opening, name) for opening in openings)
            for openings in found.values()
        )
        print(f"{name:<16} {ours:>10.2f} {theirs:>10.2f} {theirs / ours:>7.2f}")


if __name__ == "__main__":
    sys.exit(main())
