"""Headless Chromium, and a web process to look at, shared by the tests of one module."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from serving import web
from serving.health import answers
from tests.dicom_node.rig import free_port, wait_for
from tests.serving.bench import Bench, peer

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Site:
    """An installation with its web process."""

    def __init__(self, folder: Path, *, port: int = 0, **settings: Any) -> None:
        web_settings = {"port": port or free_port()}
        self.bench = Bench(folder, peers=(peer(),), web=web_settings, **settings)
        self.bench.install()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=web.run, args=(self.bench.settings, self._stop))
        self._thread.start()
        wait_for(lambda: answers("127.0.0.1", self.bench.settings.web.port))

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.bench.settings.web.port}{path}"

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(15)
        assert not self._thread.is_alive()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    running = Site(tmp_path_factory.mktemp("site"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        yield browser
        browser.close()


def _is_fault(message: ConsoleMessage) -> bool:
    """Whether it is ours; a refused request is answered on the page and noted by the browser."""
    return message.type == "error" and "the server responded with a status" not in message.text


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page of a new user; what its scripts or its policy complain about fails the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
    context.set_default_timeout(60_000)
    shown, complaints = context.new_page(), []
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on("console", lambda m: complaints.append(m.text) if _is_fault(m) else None)
    yield shown
    context.close()
    assert not complaints, complaints
