"""What pages offer to each role: exactly what the server does not refuse it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import httpx
import pytest

from imaging.reasons import reason
from serving.people.person import Role
from tests.serving.bench import MODEL, mr
from tests.serving.room.browser import Site
from tests.serving.test_api import close

RETRY = "/api/deliveries/retry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A site with a key for each role, and studies with something left to do."""

    site: Site
    keys: dict[Role, str]
    refused: str
    given_up: str

    def ask(self, role: Role, method: str, path: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.keys[role]}"}
        return httpx.request(method, self.site.address(path), headers=headers, timeout=60)

    def offered(self, role: Role, path: str) -> set[str]:
        """What buttons of a page ask for, links to pages for those who look after models too."""
        answer = self.ask(role, "GET", path)
        assert answer.status_code == 200
        posts = re.findall(r'data-(?:post|address)="([^"]+)"', answer.text)
        links = re.findall(r'href="(/models(?:/[^"/]+/versions)?)"', answer.text)
        return {*posts, *links, *(["assess"] if 'data-verdict="accepted"' in answer.text else [])}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    site = Site(tmp_path_factory.mktemp("offered"))
    bench = site.bench
    refused = bench.analysed(mr())
    close(bench, refused)
    uids = [d.instance_uid for d in bench.journal.deliveries(study_uid=refused)]
    bench.journal.update_deliveries(uids, "pacs", "refused")
    images = mr(StudyInstanceUID="1.5", SeriesInstanceUID="1.5.1")
    for n, image in enumerate(images):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.5.1.{n}"
    given_up = bench.receive(images)
    close(bench, given_up)
    bench.ticket(given_up)
    item = bench.workitem(given_up).workitem_uid
    bench.journal.end(item, "CANCELED", reason("CANCELED_BY_USER"))
    people = bench.parts.people
    keys = {role: people.add_key(role, role) for role in get_args(Role)}
    yield Desk(site=site, keys=keys, refused=refused, given_up=given_up)
    site.stop()


def test_a_reader_is_offered_verdicts_and_no_steering(desk: Desk):
    assert desk.offered("reader", "/") == set()
    assert desk.offered("reader", f"/studies/{desk.refused}") == {"assess"}
    assert desk.offered("reader", f"/studies/{desk.given_up}") == set()
    for method, path in (("GET", "/models"), ("POST", RETRY)):
        assert desk.ask("reader", method, path).status_code == 403


@pytest.mark.parametrize("role", ["engineer", "administrator"])
def test_who_steers_is_offered_it(desk: Desk, role: Role):
    item = desk.site.bench.workitem(desk.given_up).workitem_uid
    again = f"{RETRY}?study_uid={desk.refused}"
    assert desk.offered(role, "/") == {"/models"}
    assert desk.offered(role, f"/studies/{desk.refused}") == {"/models", "assess", again}
    retry = f"/api/workitems/{item}/retry"
    assert desk.offered(role, f"/studies/{desk.given_up}") == {"/models", retry}
    assert desk.offered(role, "/models") == {"/models", f"/models/{MODEL}/versions"}
