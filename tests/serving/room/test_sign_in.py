"""Signing in, as a reader does it in a real browser."""

from playwright.sync_api import Page, expect

from tests.serving.bench import mr
from tests.serving.room.browser import Site, chromium, page, site
from tests.serving.test_api import close

__all__ = ["chromium", "page", "site"]

PASSWORD = "correct horse battery"


def test_a_reader_signs_in_is_refused_what_engineers_do_and_signs_out(site: Site, page: Page):
    study = site.bench.analysed(mr())
    close(site.bench, study)
    site.bench.parts.people.add_user("Dr. Lin", "reader", PASSWORD)
    page.goto(site.address(f"/studies/{study}"))
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("Name").fill("Dr. Lin")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(site.address(f"/studies/{study}"))
    refused = page.evaluate(
        "async (address) => (await fetch(address, {method: 'POST'})).json()",
        f"/api/studies/{study}/reanalyse",
    )
    assert refused["detail"] == "this needs the role engineer; Dr. Lin is reader"
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(site.address("/"))
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
