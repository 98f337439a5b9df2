"""The full viewer: how it is installed, and what a reader sees in it."""

import io
import shutil
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from dicom_node.records import StudyFilter
from imaging.errors import SetupError
from serving import web
from serving.health import answers
from serving.viewer.package import _page, _script, _style, install
from serving.worker import build_recogniser
from tests.dicom_node.rig import free_port, wait_for
from tests.models.networks import SEGMENTATION
from tests.serving.bench import Bench, ct, mr
from tests.serving.test_api import close

# What the CT shows is green and has a name of its own.
GREEN = (
    SEGMENTATION.replace("cielab = [50.0, 0.0, 0.0]", "cielab = [88.0, -79.0, 81.0]")
    .replace('name = "bright-tissue"', 'name = "dense-bone"')
    .replace('["MR"]', '["CT"]')
    .replace('label = "Tissue"', 'label = "Bone"')
    .replace('type = ["85756007", "SCT", "Tissue"]', 'type = ["272673000", "SCT", "Bone"]')
)
RED = SEGMENTATION.replace("cielab = [50.0, 0.0, 0.0]", "cielab = [53.0, 80.0, 67.0]")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)
PATIENCE_MS = 240_000  # the browser computes its graphics without hardware


class Running:
    """An installation with one analysed study, and its web process."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder, web={"port": free_port()})
        self._stop = threading.Event()
        self._thread = threading.Thread(target=web.run, args=(self.bench.settings, self._stop))

    def start(self) -> None:
        self._thread.start()
        wait_for(lambda: answers("127.0.0.1", self.bench.settings.web.port), seconds=60)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.bench.settings.web.port}{path}"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    made.start()
    yield made
    made.stop()


def test_without_the_viewer_its_address_says_how_to_install_it(running: Running):
    answer = httpx.get(running.address("/viewer/viewer?StudyInstanceUIDs=1.2.3"))
    assert answer.status_code == 503
    assert "wetread viewer install" in answer.text
    assert httpx.get(running.address("/healthz")).status_code == 200


def test_another_package_is_refused(tmp_path: Path):
    other = tmp_path / "other.tgz"
    with tarfile.open(other, "w:gz") as archive:
        member = tarfile.TarInfo("package/dist/index.html")
        archive.addfile(member, io.BytesIO())
    with pytest.raises(SetupError, match="SHA-512 differs"):
        install(tmp_path / "data", other)
    with pytest.raises(SetupError, match="cannot be read"):
        install(tmp_path / "data", tmp_path / "nowhere.tgz")
    assert not list((tmp_path / "data" / "viewer").iterdir())


def test_only_what_names_the_root_is_moved():
    assert _script('__webpack_require__.p = "/";x = "/";') == (
        '__webpack_require__.p = "/viewer/";x = "/";'
    )
    assert _style("a{b:url(/c.png)}d{e:url(f.png) url(//g)}") == (
        "a{b:url(/viewer/c.png)}d{e:url(f.png) url(//g)}"
    )
    page = """<a href="/a.css"><a href="//b"><script>window.PUBLIC_URL = '/';</script>"""
    moved = page.replace('"/a', '"/viewer/a').replace("'/'", "'/viewer/'")
    assert _page(page) == moved
    assert _page('<script type="module" src="/init-service-worker.js"></script>') == ""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An installation with the viewer, an MR with red tissue outlined and a CT with green bone."""
    made = Running(tmp_path_factory.mktemp("viewer"))
    try:
        install(made.bench.settings.data_folder)
    except SetupError as error:
        pytest.skip(f"the viewer cannot be installed here: {error}")
    made.bench.install(RED)
    made.bench.install(GREEN)
    for images in (mr((12, 64, 64)), ct((12, 64, 64))):
        close(made.bench, made.bench.analysed(images))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, shown: Running) -> Iterator[Page]:
    """A page of a new user; what fails to load, or is asked of elsewhere, fails the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
    context.set_default_timeout(PATIENCE_MS)
    opened, wrong = context.new_page(), []
    ours = (shown.address("/"), "blob:", "data:")
    opened.on("request", lambda r: None if r.url.startswith(ours) else wrong.append(r.url))
    opened.on("response", lambda r: wrong.append(r.url) if r.status >= 400 else None)
    yield opened
    context.close()
    assert not wrong


def study_uid(shown: Running, modality: str) -> str:
    (study,) = shown.bench.index.studies(StudyFilter(modality=modality)).studies
    return study.study_uid


def open_result(page: Page, shown: Running, kind: str, modality: str = "MR") -> None:
    study = study_uid(shown, modality)
    series = shown.bench.results(study)[kind].series_uid
    address = f"/viewer/viewer?StudyInstanceUIDs={study}"
    page.goto(shown.address(f"{address}&initialSeriesInstanceUID={series}"))


def seen(page: Page) -> Any:
    """Red, green and blue of the middle of the viewport."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    return np.moveaxis(np.asarray(picture, np.int16)[150:700, 400:1150], -1, 0)


def reddish(page: Page) -> float:
    red, green, blue = seen(page)
    return float(np.mean((red > green + 30) & (red > blue + 30)))


def greenish(page: Page) -> float:
    red, green, blue = seen(page)
    return float(np.mean((green > red + 30) & (green > blue + 30)))


def yellow(page: Page) -> float:
    red, green, blue = seen(page)
    return float(np.mean((red > 200) & (green > 200) & (blue < 90)))


def test_a_segmentation_is_shown_in_its_colour(page: Page, shown: Running):
    open_result(page, shown, "SEG")
    wait_for(lambda: reddish(page) > 0.1, seconds=240)  # the outlined tissue is a third of it
    assert page.get_by_text("MR test").first.is_visible()


def test_the_study_page_opens_a_ct_with_its_segment_in_colour(page: Page, shown: Running):
    page.goto(shown.address(f"/studies/{study_uid(shown, 'CT')}"))
    page.locator("header").get_by_role("link", name="Full viewer").click()
    # While the viewer loads, its own signs may be red for a moment.
    wait_for(lambda: greenish(page) > 0.1 and reddish(page) < 0.01, seconds=240)
    assert page.get_by_text("CT test").first.is_visible()


def test_a_report_on_a_ct_names_what_it_measures_and_saving_it_is_recognised(
    page: Page, shown: Running
):
    """Saved as it is, it corrects nothing; the viewer gives it another tracking UID."""
    study = study_uid(shown, "CT")
    open_result(page, shown, "SR", "CT")
    page.get_by_text("Area: 1024 mm").wait_for()
    wait_for(lambda: yellow(page) > 0.002, seconds=240)
    page.locator("[data-cy=trackedMeasurements-btn]").click()
    page.locator("[data-cy=data-row]").get_by_text("Bone").wait_for()
    page.get_by_text("Create SR").click()
    with page.expect_response(lambda r: r.request.method == "POST") as answered:
        page.get_by_role("button", name="Save").click()
    assert answered.value.status == 200
    build_recogniser(shown.bench.parts).look()
    (saved,) = shown.bench.parts.saved.of_study(study)
    (finding,) = shown.bench.journal.current_findings(study)
    (match,) = saved.matches
    assert (match.tracking_uid, match.by) == (finding.tracking_uid, "label or code")
    assert (match.corrects, match.why) == (False, None)
    assert shown.bench.index.study(study).state == "complete"


def test_a_report_is_shown_as_an_outline_with_its_numbers(page: Page, shown: Running):
    open_result(page, shown, "SR")
    page.get_by_text("Area: 1024 mm").wait_for()
    wait_for(lambda: yellow(page) > 0.002, seconds=240)
