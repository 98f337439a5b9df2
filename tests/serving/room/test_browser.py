"""The pages as a radiologist uses them, in a real browser."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.serving.bench import mr
from tests.serving.room.browser import Site, chromium, page, site
from tests.serving.test_api import close

__all__ = ["chromium", "page", "site"]

STUDY, EVIL = "1.7.1", "<script>document.title='taken over'</script>"
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def study(site: Site) -> str:
    """An analysed study whose sender writes scripts into names."""
    images = mr(
        StudyInstanceUID=STUDY,
        SeriesInstanceUID=f"{STUDY}.1",
        PatientName=f"Doe^{EVIL}",
        StudyDescription=EVIL,
    )
    uid = site.bench.analysed(images)
    close(site.bench, uid)
    return uid


def test_the_worklist_follows_a_study_as_it_arrives(site: Site, study: str, page: Page):
    page.goto(site.address("/"))
    images = mr(StudyInstanceUID="1.7.2", SeriesInstanceUID="1.7.2.1", PatientID="NEW")
    for number, image in enumerate(images):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.7.2.1.{number}"
    site.bench.receive(images)
    row = page.locator("tr[data-study]", has_text="NEW")
    expect(row).to_contain_text("waiting for slices, 5 here")
    close(site.bench, "1.7.2")
    site.bench.run(site.bench.ticket("1.7.2"))
    expect(row).to_contain_text("Tissue volume")
    expect(row).to_contain_text("delivering")


def test_keys_open_a_study_and_scroll_it(site: Site, study: str, page: Page):
    page.goto(site.address("/?read=all&text=Doe"))
    expect(page.locator("tr[data-study]")).to_have_count(1)
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page).to_have_url(site.address(f"/studies/{study}"))
    page.wait_for_load_state()  # its script listens from then on
    expect(page.locator("#hud")).to_contain_text("of 5")
    page.keyboard.press("Home")
    expect(page.locator("#hud")).to_have_text("slice 1 of 5")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#hud")).to_have_text("slice 2 of 5")
    page.locator("#viewer").hover()
    page.mouse.wheel(0, 80)
    expect(page.locator("#hud")).to_have_text("slice 4 of 5")
    expect(page.locator("#slice")).to_have_attribute("src", re.compile("/3.jpg"))
    page.keyboard.press("o")
    expect(page.locator("#slice")).to_have_attribute("src", re.compile("overlay=0"))
    assert page.evaluate("document.getElementById('slice').naturalWidth") > 0
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()


def test_the_model_card_opens_on_a_click(site: Site, study: str, page: Page):
    page.goto(site.address(f"/studies/{study}"))
    page.locator("a[data-card]").first.click()
    expect(page.locator("#card-dialog")).to_contain_text("Intended use")


def test_scripts_in_names_stay_text(site: Site, study: str, page: Page):
    for path in ("/?read=all", f"/studies/{study}"):
        page.goto(site.address(path))
        expect(page.locator("body")).to_contain_text(EVIL)
        assert page.title() != "taken over"


def test_chinese_is_kept_from_page_to_page(site: Site, study: str, page: Page):
    page.goto(site.address("/"))
    page.get_by_role("link", name="中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    page.goto(site.address(f"/studies/{study}"))
    expect(page.locator("#series")).to_contain_text("该序列满足模型的全部要求")
    expect(page.locator("#findings")).to_contain_text("体积")


def test_accept_correct_reject_and_undo(site: Site, study: str, page: Page):
    page.goto(site.address(f"/studies/{study}"))
    card = page.locator(".findingcard")
    card.get_by_role("button", name="Accept").click()
    expect(card.locator(".badge.accepted")).to_be_visible()
    card.get_by_role("button", name="Correct").click()
    card.get_by_label("Volume").fill("2.5")
    card.get_by_role("button", name="Save correction").click()
    expect(card).to_contain_text("Volume → 2.50 ml")
    card.get_by_role("button", name="Reject …").click()
    card.get_by_label("Reason").select_option("OTHER")
    card.get_by_role("button", name="Reject", exact=True).click()
    expect(card.locator(".problem")).to_contain_text("needs a comment")
    card.locator("form[data-form=rejected] [name=comment]").fill(EVIL)
    card.get_by_role("button", name="Reject", exact=True).click()
    expect(card.locator(".badge.rejected")).to_be_visible()
    expect(card.locator("q")).to_have_text(EVIL)
    card.get_by_role("button", name="Undo").click()
    expect(card.locator(".badge.corrected")).to_be_visible()
    expect(page.locator("#history tbody tr")).to_have_count(4)
    page.goto(site.address("/?read=only"))
    expect(page.locator("tr[data-study]", has_text="Doe")).to_contain_text("corrected")


@pytest.mark.parametrize("path", ["/?read=all", f"/studies/{STUDY}"])
def test_pages_fit_a_phone(site: Site, study: str, page: Page, path: str):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(site.address(path))
    expect(page.locator("main")).to_contain_text("Doe")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
