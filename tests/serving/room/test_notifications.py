"""The page of notifications, as an administrator uses it."""

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from serving.notify.target import Target
from tests.serving.bench import ct, mr
from tests.serving.room.browser import Site, chromium, page
from tests.serving.room.test_accessible import _RULES
from tests.serving.test_notify import hook

__all__ = ["chromium", "page"]

EVIL = "<script>document.title='taken over'</script>"
PATHS = ["/notifications", "/notifications?lang=zh"]


def ris(port: int = 1) -> Target:
    return Target(name="ris", kind="hl7", host="127.0.0.1", port=port)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two studies: the RIS took one and is busy since, the hook refused both in its own words."""
    targets = (ris(), hook("http://127.0.0.1:1", name="hook"))
    running = Site(tmp_path_factory.mktemp("site"), notify=targets)
    running.bench.analysed(mr(StudyInstanceUID="1.7.1", PatientName=f"Doe^{EVIL}"))
    running.bench.analysed(ct(StudyInstanceUID="1.7.2", SeriesInstanceUID="1.7.2.1"))
    messages = running.bench.parts.messages
    for message in messages.listed(target="hook"):
        messages.note(message, "refused", answer="HTTP 400", words=f"{EVIL} {'x' * 200}")
    busy, taken = messages.listed(target="ris")
    messages.note(taken, "delivered", answer="MSA AA")
    messages.note(busy, "waiting", answer="MSA AE", words="busy", retry_in_s=4000)
    yield running
    running.stop()


def test_targets_and_messages_are_shown_and_what_receivers_say_is_only_text(site: Site, page: Page):
    page.goto(site.address("/"))
    page.get_by_role("link", name="Notifications").click()
    card = page.locator("#targets article", has_text="hl7 127.0.0.1:1")
    expect(card.locator(".badge")).to_have_text("waiting")
    expect(card.locator("dl")).to_have_text(re.compile(r"waiting\s*1\s*refused\s*0.*delivered\s*1"))
    expect(card.locator(".problem")).to_have_text("MSA AE · busy")
    refusing = page.locator("#targets article", has_text="webhook")
    expect(refusing.locator(".badge")).to_have_text("failing")
    rows = page.locator("#messages tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.filter(has_text="ris")).to_contain_text("in 1 h")
    refused = rows.filter(has_text="refused").filter(has_text="Doe")
    expect(refused).to_contain_text(f"HTTP 400 · {EVIL}")
    expect(refused.get_by_role("button", name="Drop")).to_have_count(0)
    assert page.title() == "Notifications · Wetread"


@pytest.mark.parametrize("path", PATHS)
def test_it_fits_a_phone_and_is_accessible(site: Site, page: Page, path: str):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(site.address(path))
    expect(page.locator("#messages")).to_contain_text("Doe")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    found = Axe().run(page, options=_RULES).response
    assert [one["id"] for one in found["violations"]] == []
    page.set_viewport_size({"width": 1280, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 1280
    found = Axe().run(page, options=_RULES).response
    assert [one["id"] for one in found["violations"]] == []


def test_an_administrator_tries_again_and_drops_in_two_steps(site: Site, page: Page):
    messages = site.bench.parts.messages
    page.goto(site.address("/notifications"))
    row = page.locator("#messages tbody tr", has_text="ris")
    row.get_by_role("button", name="Try again").click()
    expect(row).to_contain_text("at once")
    assert messages.due("ris") is not None
    row.get_by_role("button", name="Drop").click()
    page.evaluate("refresh()")  # what arrives meanwhile does not take the question away
    (waiting,) = messages.listed(target="ris", state="waiting")
    row.get_by_role("button", name="Drop it for good?").click()
    expect(row).to_have_count(0)
    assert [m.message_id for m in messages.listed(state="canceled")] == [waiting.message_id]
    page.get_by_role("button", name="Try all of hook again").click()
    expect(page.locator("#messages .badge.waiting")).to_have_count(2)
