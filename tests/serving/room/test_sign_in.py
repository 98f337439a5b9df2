"""Signing in, as a reader does it in a real browser."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.dicom_node.rig import free_port, listens, wait_for
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


IDENTITY = Path(__file__).parents[2] / "fixtures" / "identity"


@pytest.fixture
def joined(tmp_path: Path) -> Iterator[Site]:
    """A site whose people sign in at a certified provider, from npm, on loopback."""
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("node and npm are not installed")
    folder = shutil.copytree(IDENTITY, tmp_path / "identity")
    install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]
    fetched = subprocess.run(install, cwd=folder, capture_output=True, timeout=200, check=False)
    if fetched.returncode:
        pytest.skip("npm cannot fetch the provider")
    port, ours = free_port(), free_port()
    sign_in = {
        "issuer": f"http://127.0.0.1:{port}",
        "name": "the hospital",
        "client_id": "wetread",
        "client_secret": "what only the two of them know",
        "public_url": f"http://127.0.0.1:{ours}",
        "roles_claim": "groups",
        "roles": {"radiologists": "reader"},
        "timeout_s": 60,
    }
    back = f"http://127.0.0.1:{ours}/sign-in/back"
    command = ["node", "provider.mjs", str(port), back]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as node:
        try:
            wait_for(lambda: listens(port), seconds=60)
            site = Site(tmp_path, port=ours, sign_in=sign_in)
            yield site
            site.stop()
        finally:
            node.kill()


def test_a_reader_signs_in_at_the_hospital_and_the_cook_is_refused(joined: Site, page: Page):
    def signs_in(name: str) -> None:
        page.get_by_role("link", name="Sign in with the hospital").click()
        page.get_by_placeholder("Enter any login").fill(name)
        page.get_by_placeholder("and password").fill("any")
        page.get_by_role("button", name="Sign-in").click()
        page.get_by_role("button", name="Continue").click()

    # The provider's own pages would like letters from elsewhere.
    page.route(lambda url: "//127.0.0.1" not in url, lambda route: route.fulfill(body=""))
    page.goto(joined.address("/?read=all"))
    signs_in("cook")
    expect(page.get_by_role("alert")).to_contain_text("have no role here")
    page.context.clear_cookies()
    page.goto(joined.address("/?read=all"))
    signs_in("lin")
    page.wait_for_url(joined.address("/?read=all"))
    expect(page.get_by_text("lin", exact=True)).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Yes, sign me out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.url == joined.address("/sign-in")
    page.goto(joined.address("/?read=all"))
    signs_in("lin")
    page.wait_for_url(joined.address("/?read=all"))
    page.goto(f"{joined.bench.settings.sign_in.issuer}/session/end")  # there, and not here
    page.get_by_role("button", name="Yes, sign me out").click()
    chain = joined.bench.parts.audit_chain

    def ended() -> list[str]:
        return [r.user for r in chain.records() if r.event == "SIGNED_OUT"]

    # By the button here, by the provider after it, which found nobody left, and by the provider.
    wait_for(lambda: ended() == ["lin", "unknown", "lin"], seconds=60)
    page.goto(joined.address("/"))
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
