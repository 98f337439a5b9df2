"""The pages of models: versions, history, and what a shadow showed."""

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from models.stages import By
from serving.room import plots
from serving.shadow.statistics import DiceFigures, MeasuredFigures
from tests.serving.bench import MODEL
from tests.serving.room.browser import Site, chromium, page
from tests.serving.room.test_accessible import _RULES
from tests.serving.test_shadow import Shade

__all__ = ["chromium", "page"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An installation with a study that two versions have read."""
    running = Site(tmp_path_factory.mktemp("versions"))
    shade = Shade(running.bench.settings.data_folder.parent, peers=running.bench.settings.peers)
    shade.shadow()
    shade.study()
    assert shade.look() == 1
    yield running
    running.stop()


def test_versions_are_seen_compared_and_steered(site: Site, page: Page):
    page.goto(site.address("/"))
    page.get_by_role("link", name="Models").click()
    page.get_by_role("link", name=MODEL).first.click()
    expect(page.locator("main")).to_contain_text("1 readings compared")
    expect(page.locator("main")).to_contain_text("Dice 0.555")
    expect(page.locator("svg.plot .dot")).to_have_count(1)
    box = page.locator("svg.plot .bar-of").bounding_box()
    assert box is not None
    assert box["height"] > 50
    promote = page.locator("form.steer", has_text="Promote")
    promote.get_by_role("textbox").fill("looks fine")
    promote.get_by_role("button").click()
    expect(page.locator("#refusal")).to_contain_text("scripts.promote")
    page.locator("form.steer", has_text="End the shadow").get_by_role("button").click()
    expect(page.locator("form.steer", has_text="Read in the shadow")).to_be_visible()
    registry = site.bench.parts.registry
    assert [v.stage.value for v in registry.versions(MODEL)] == ["served", "candidate"]
    assert registry.history(MODEL)[-1].action == "stop"


@pytest.mark.parametrize("path", ["/models", f"/models/{MODEL}/versions?lang=zh"])
def test_they_are_accessible_and_fit_a_phone(site: Site, page: Page, path: str):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(site.address(path))
    found = Axe().run(page, options=_RULES).response
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390
    text = page.locator("main").inner_text()
    assert bool(re.search("[\u4e00-\u9fff]", text)) is path.endswith("zh")


def test_who_may_not_steer_sees_no_buttons(site: Site, page: Page):
    people, word = site.bench.parts.people, "correct horse battery"
    people.add_user("root", "administrator", word)
    people.add_user("eve", "engineer", word)
    try:
        session = {"name": "wetread-session", "value": people.sign_in("eve", word)}
        page.context.add_cookies([session | {"url": site.address("/")}])
        page.goto(site.address(f"/models/{MODEL}/versions"))
        expect(page.get_by_role("heading", name="History")).to_be_visible()
        expect(page.get_by_role("button", name="Promote")).to_have_count(0)
    finally:
        people.remove_user("eve")
        people.remove_user("root")


def test_what_is_written_as_a_reason_stays_text(site: Site, page: Page):
    registry = site.bench.parts.registry
    registry.shadow(MODEL, "1.1", By(why="<b id=evil>x</b>"))
    page.goto(site.address(f"/models/{MODEL}/versions"))
    expect(page.locator("main")).to_contain_text("<b id=evil>x</b>")
    expect(page.locator("#evil")).to_have_count(0)


def test_points_lie_where_their_values_are():
    figures = MeasuredFigures(name="v", unit="ml", number=3, bias=1.0, low=-3.0, high=5.0,
                              points=((10.0, -3.0), (20.0, 1.0), (30.0, 5.0)))  # fmt: skip
    drawn = plots.spread(figures)
    by_kind = [(mark.kind, mark.y) for mark in drawn.marks]
    assert [kind for kind, _ in by_kind] == ["zero", "bias", "limit", "limit"]
    (_, bias), (_, low), (_, high) = by_kind[1:]
    assert [y for _, y in drawn.dots] == [low, bias, high]
    assert high < bias < low  # up is more
    left, middle, right = (x for x, _ in drawn.dots)
    assert middle - left == pytest.approx(right - middle, abs=0.2)
    dice = DiceFigures(name="d", number=3, mean=0.9, least=0.8, values=(0.8, 1.0, 1.0))
    few, many = plots.bars(dice)
    assert (few.count, many.count) == (1, 2)
    assert many.height == pytest.approx(2 * few.height, abs=0.2)
    assert plots.spread(figures.model_copy(update={"points": ((0.0, 0.0),), "bias": 0.0}))
