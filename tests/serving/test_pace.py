"""How fast one client may ask: real requests to a running site, and the buckets by themselves."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from serving.people.pace import Pace, RequestSettings, client_of, is_free
from serving.people.person import LOCAL, User
from tests.serving.room.browser import Site

BURST = 12
SLOWLY = {"per_second": 0.01, "burst": BURST}  # nothing comes back during a test


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("narrow"), requests=SLOWLY)
    yield site
    site.stop()


def asked(site: Site, path: str, **headers: str) -> httpx.Response:
    return httpx.get(site.address(path), headers=headers, timeout=60)


def with_key(site: Site, name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {site.bench.parts.people.add_key(name, 'reader')}"}


def spent(site: Site, path: str, **headers: str) -> httpx.Response:
    """Ask until it is too much, and return the answer that says so."""
    answers = [asked(site, path, **headers) for _ in range(BURST + 1)]
    assert [a.status_code for a in answers].count(429) == 1
    return answers[-1]


def test_who_asks_too_fast_is_told_when_to_come_back_and_others_go_on(narrow: Site):
    one, other = with_key(narrow, "one"), with_key(narrow, "other")
    answer = spent(narrow, "/api/studies", **one)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 100
    assert asked(narrow, "/dicomweb/studies", **one).status_code == 429
    assert asked(narrow, "/", **one).status_code == 429
    assert asked(narrow, "/dicomweb/studies", **other).status_code in {200, 204}
    for free in ("/healthz", "/readyz", "/metrics", "/static/room.css"):
        assert asked(narrow, free, **one).status_code != 429
    with httpx.stream("GET", narrow.address("/api/events"), headers=one, timeout=60) as events:
        assert events.status_code == 200


def test_strangers_are_counted_by_the_address_that_a_trusted_proxy_names(narrow: Site):
    with_key(narrow, "somebody")
    first = {"X-Forwarded-For": "192.0.2.1"}
    for _ in range(BURST):
        assert asked(narrow, "/api/studies", **first).status_code == 401
    assert asked(narrow, "/api/studies", **first).status_code == 429
    assert asked(narrow, "/api/studies", **{"X-Forwarded-For": "192.0.2.2"}).status_code == 401


def test_a_viewer_that_opens_a_large_study_is_not_held_up(tmp_path_factory: pytest.TempPathFactory):
    """As many requests as OHIF makes for 300 slices, ten times over, as fast as they go."""
    site = Site(tmp_path_factory.mktemp("usual"))
    try:
        key = with_key(site, "viewer")
        with httpx.Client(headers=key, timeout=60) as client, ThreadPoolExecutor(8) as pool:
            address = site.address("/api/models")
            found = set(pool.map(lambda _: client.get(address).status_code, range(600)))
        assert found == {200}
    finally:
        site.stop()


def test_a_bucket_fills_at_its_pace():
    now = [0.0]
    pace = Pace(RequestSettings(per_second=2, burst=3), clock=lambda: now[0])
    assert [pace.wait_s("a") for _ in range(4)] == [0, 0, 0, 1]
    now[0] = 0.5
    assert [pace.wait_s("a") for _ in range(2)] == [0, 1]
    now[0] = 1000.0
    assert [pace.wait_s("a") for _ in range(4)] == [0, 0, 0, 1]
    slow = Pace(RequestSettings(per_second=0.1, burst=1), clock=lambda: now[0])
    assert [slow.wait_s("a"), slow.wait_s("a"), slow.wait_s("b")] == [0, 10, 0]


def test_without_a_limit_nobody_waits_and_nothing_is_remembered():
    pace = Pace(RequestSettings(per_second=0, burst=1))
    assert {pace.wait_s("a") for _ in range(10)} == {0}
    assert len(pace) == 0


def test_only_so_many_clients_are_remembered_those_who_asked_last():
    pace = Pace(RequestSettings(per_second=0.001, burst=1), clock=lambda: 0.0, remembered=3)
    for client in ("a", "b", "c"):
        assert pace.wait_s(client) == 0
    assert pace.wait_s("a")
    assert pace.wait_s("d") == 0
    assert len(pace) == 3
    assert pace.wait_s("a")  # it asked later than b, which is forgotten
    assert pace.wait_s("b") == 0


def test_who_is_one_client():
    rita = User(name="rita", role="reader", how="session")
    key = User(name="rita", role="reader", how="key")
    assert client_of(rita, "192.0.2.1") == client_of(rita, "192.0.2.2")
    assert len({client_of(who, "192.0.2.1") for who in (rita, key, None)}) == 3
    assert client_of(None, "2001:db8::1") == client_of(None, "2001:db8::ffff")
    assert client_of(None, "2001:db8::1") != client_of(None, "2001:db8:0:1::1")
    assert client_of(None, "192.0.2.1") != client_of(None, "192.0.2.2")
    assert not is_free("/api/studies", rita)
    assert is_free("/api/studies", LOCAL)
