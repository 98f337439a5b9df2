"""Pages by WCAG 2.2 A and AA, as far as a program can tell: axe-core in a real browser."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.serving.room.browser import Site, chromium, page, site
from tests.serving.room.test_browser import STUDY, study

__all__ = ["chromium", "page", "site", "study"]

_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
PATHS = ["/?read=all", f"/studies/{STUDY}", "/?read=all&lang=zh", f"/studies/{STUDY}?lang=zh"]


@pytest.mark.parametrize("path", PATHS)
def test_pages_are_accessible(site: Site, study: str, page: Page, path: str):
    page.goto(site.address(path))
    found = Axe().run(page, options=_RULES).response
    named = {(one["id"], node["html"]) for one in found["violations"] for node in one["nodes"]}
    assert "color-contrast" in {one["id"] for one in found["passes"]}
    assert named == set()
