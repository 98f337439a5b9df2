"""Who may use pages, REST, DICOMweb and viewer."""

import asyncio
import io
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi.routing import APIRoute

from dicom_node import schema
from dicom_node.schema_audit import audit_records
from imaging.errors import Conflict, SetupError
from serving import web
from serving.__main__ import main
from serving.parts import Parts
from serving.people.book import People, SessionRules
from serving.people.brake import Brake
from serving.people.desk import Desk as CheckDesk
from serving.people.rights import needed, stated
from serving.settings import Settings
from tests.dicom_node.audit_rig import values
from tests.dicom_node.rig import wait_for
from tests.serving.bench import mr
from tests.serving.room.browser import Site, site

__all__ = ["site"]

PASSWORD = "correct horse battery"
READER = "Dr. Lin"
NOTHING_VALID: tuple[dict[str, str], ...] = (
    {},
    {"Authorization": "Bearer wetread_x"},
    {"Cookie": "wetread-session=x"},
)


class Desk:
    """A running site with one account and a key for each role."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.people = site.bench.parts.people
        self.study = site.bench.analysed(mr())
        self.people.add_user(READER, "reader", PASSWORD)
        self.keys = {
            role: self.people.add_key(f"the {role}", role)
            for role in ("reader", "engineer", "administrator")
        }
        self.origin = site.address("")

    def ask(self, method: str, path: str, role: str = "", **headers: str) -> httpx.Response:
        if role:
            headers["Authorization"] = f"Bearer {self.keys[role]}"
        return httpx.request(method, self.site.address(path), headers=headers, timeout=60)

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.origin, headers={"Origin": self.origin}, timeout=60)

    @contextmanager
    def signed_in(self) -> Iterator[httpx.Client]:
        with self.client() as client:
            answer = client.post("/sign-in", data={"name": READER, "password": PASSWORD})
            assert answer.status_code == 303
            assert answer.headers["location"] == "/"
            yield client


@pytest.fixture(scope="module")
def desk(site: Site) -> Desk:
    return Desk(site)


def rest_routes(given: Sequence[Any]) -> Iterator[Any]:
    for route in given:
        if hasattr(route, "methods"):
            yield route
        elif hasattr(route, "original_router"):
            yield from rest_routes(route.original_router.routes)


def routes(parts: Parts) -> Iterator[tuple[str, str]]:
    """Give every method and address that there is, made-up names filled in."""
    front = web.everything(parts)
    rest = front.rest
    found = [("", route) for route in rest_routes(rest.routes)]
    found += [("/dicomweb", route) for route in front.others["/dicomweb"].routes]
    assert any(isinstance(route, APIRoute) and route.path == "/api/studies" for _, route in found)
    for root, route in found:
        for method in getattr(route, "methods", ()):
            yield method, root + re.sub(r"{\w+(:\w+)?}", "1.2", route.path)
    for path in ("/viewer/", "/viewer/viewer", "/viewer/app-config.js"):
        yield "GET", path


def test_every_route_states_who_may_use_it(desk: Desk):
    assert not [each for each in routes(desk.site.bench.parts) if stated(*each) is None]


def test_no_route_answers_who_shows_nothing_or_a_wrong_key(desk: Desk):
    guarded = [each for each in routes(desk.site.bench.parts) if needed(*each) != "nobody"]
    assert len(guarded) > 50
    with httpx.Client(base_url=desk.origin, timeout=60) as client:
        for method, path in guarded:
            for headers in NOTHING_VALID:
                answer = client.request(method, path, headers=headers)
                assert (method, path, answer.status_code) == (method, path, 401)
                assert answer.headers["www-authenticate"] == "Bearer"


def test_the_audit_trail_names_who_asked_and_who_was_refused(desk: Desk):
    path = f"/api/studies/{desk.study}"
    assert desk.ask("GET", path, "engineer").status_code == 200
    assert desk.ask("POST", f"{path}/reanalyse", "reader").status_code == 403
    assert desk.ask("GET", path).status_code == 401
    engine = desk.site.bench.parts.index.engine
    query = sa.select(audit_records.c.user, audit_records.c.event)

    def told() -> set[tuple[str, str]]:
        with engine.connect() as connection:
            return {(row.user, row.event) for row in connection.execute(query)}

    wait_for(lambda: ("the engineer", "ACCESSED") in told())
    wait_for(lambda: {"the reader", "unknown"} <= {user for user, _ in told()})
    assert "local" not in {user for user, _ in told()}
    said = {
        record.user: values(record, "//ActiveParticipant[1]/RoleIDCode/@csd-code")
        for record in desk.site.bench.parts.audit_chain.records()
    }
    assert said["the engineer"] == ["110152", "engineer"]
    assert said["the reader"] == ["110152", "reader"]
    assert said["unknown"] == ["110152"]
    assert desk.site.bench.parts.audit_chain.verify().problems == ()


def test_no_cache_keeps_what_rest_says_of_patients(desk: Desk):
    for path in ("/api/studies", f"/api/studies/{desk.study}", "/api/deliveries"):
        answer = desk.ask("GET", path, "reader")
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")


def test_health_is_open_and_no_more(desk: Desk):
    assert desk.ask("GET", "/healthz").json() == {"status": "ok"}
    assert desk.ask("GET", "/metrics", "reader").status_code == 200
    assert desk.ask("GET", "/dicomweb/studies", "reader").status_code == 200


def test_a_browser_is_sent_to_the_sign_in_page_and_back(desk: Desk):
    answer = desk.ask("GET", "/?read=all", Accept="text/html")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?back=%2F%3Fread%3Dall"
    page = desk.ask("GET", answer.headers["location"], **{"Accept-Language": "zh-CN"}).text
    assert 'value="/?read=all"' in page
    assert "登录" in page
    away = desk.ask("GET", "/sign-in?back=//evil.example/").text
    assert "evil.example" not in re.findall(r'name="back" value="(.*?)"', away)[0]


def test_roles_decide_who_may_change_what(desk: Desk):
    again = f"/api/studies/{desk.study}/reanalyse"
    refused = desk.ask("POST", again, "reader")
    assert refused.status_code == 403
    assert refused.json()["detail"] == "this needs the role engineer; the reader is reader"
    assert desk.ask("POST", "/api/deliveries/retry", "engineer").status_code != 403
    assert desk.ask("DELETE", "/api/not-stated", "engineer").status_code == 403
    assert desk.ask("DELETE", "/api/not-stated", "administrator").status_code == 404


def test_an_assessment_carries_the_name_of_who_signed_in(desk: Desk):
    address = f"/api/studies/{desk.study}/assessments"
    detail = desk.ask("GET", f"/api/studies/{desk.study}", "reader").json()
    wanted = {"verdict": "accepted", "findings": [detail["findings"][0]["tracking_uid"]]}
    with desk.signed_in() as client:
        made = client.post(address, json=wanted)
        assert made.status_code == 201, made.text
        assert made.json()[0]["reader"] == READER


def test_a_page_of_another_site_cannot_use_a_session(desk: Desk):
    with desk.signed_in() as client:
        address = f"/api/studies/{desk.study}/assessments/x/undo"
        assert client.post(address).status_code == 404
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ):
            refused = client.post(address, headers=headers)
            assert refused.status_code == 403
            assert "another site" in refused.json()["detail"]
        del client.headers["origin"]
        assert client.post(address).status_code == 403


def test_a_session_is_kept_from_scripts_and_ends_on_signing_out(desk: Desk):
    with desk.client() as client:
        wrong = client.post("/sign-in", data={"name": READER, "password": "x"})
        assert wrong.status_code == 401
        assert "Name or password is wrong." in wrong.text
        right = client.post("/sign-in", data={"name": READER, "password": PASSWORD})
        assert {"HttpOnly", "SameSite=lax"} <= set(right.headers["set-cookie"].split("; "))
        token = client.cookies["wetread-session"]
        assert READER in client.get("/").text
        assert client.post("/sign-out").headers["location"] == "/sign-in"
    again = desk.ask("GET", "/api/studies", Cookie=f"wetread-session={token}")
    assert again.status_code == 401


def test_guessing_is_slowed_down_for_a_name(desk: Desk):
    with desk.client() as client:
        data = {"name": "nobody", "password": "x"}
        answers = [client.post("/sign-in", data=data) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 900


def test_neither_passwords_nor_keys_nor_sessions_are_in_the_database(desk: Desk):
    with desk.signed_in() as client:
        secrets = [PASSWORD, client.cookies["wetread-session"], *desk.keys.values()]
    folder = desk.site.bench.settings.data_folder
    written = b"".join(file.read_bytes() for file in folder.glob("wetread.sqlite*"))
    assert READER.encode() in written
    assert not [each for each in secrets if each.encode() in written]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def people(folder: Path, clock: Clock) -> People:
    engine = schema.connect(f"sqlite:///{folder / 'people.sqlite'}")
    schema.upgrade(engine)
    rules = SessionRules(idle_s=100, longest_s=250)
    return People(engine, tenant="default", clock=clock, rules=rules)


def test_a_session_ends_when_unused_and_in_the_end_anyway(tmp_path: Path):
    clock = Clock()
    book = people(tmp_path, clock)
    book.add_user("Ann", "engineer", PASSWORD)
    token = book.sign_in("Ann", PASSWORD)
    assert token
    for later in (90, 180, 240):
        clock.now = 1000.0 + later
        assert book.of_session(token).role == "engineer"
    clock.now = 1251.0
    assert book.of_session(token) is None
    other = book.sign_in("Ann", PASSWORD)
    clock.now += 101
    assert book.of_session(other) is None


def test_what_is_removed_counts_no_more(tmp_path: Path):
    book = people(tmp_path, Clock())
    assert not book.guarded()
    book.add_user("Ann", "reader", PASSWORD)
    assert book.guarded()
    with pytest.raises(Conflict):
        book.add_user("Ann", "administrator", PASSWORD)
    token = book.sign_in("Ann", PASSWORD)
    book.set_password("Ann", PASSWORD[::-1])
    assert book.of_session(token) is None
    assert book.sign_in("Ann", PASSWORD) is None
    token = book.sign_in("Ann", PASSWORD[::-1])
    book.remove_user("Ann")
    assert book.of_session(token) is None
    key = book.add_key("ris", "engineer")
    assert book.of_key(key).name == "ris"
    book.revoke_key("ris")
    assert book.of_key(key) is None
    assert not book.guarded()


@pytest.mark.parametrize("name", ["", "local", "a^b", "a\nb", "x" * 65])
def test_a_name_that_could_not_stand_in_a_report_is_refused(tmp_path: Path, name: str):
    with pytest.raises(SetupError):
        people(tmp_path, Clock()).add_user(name, "reader", PASSWORD)


def test_password_checks_hold_up_nobody_else():
    let_go, running, most = threading.Event(), [0], [0]

    def check() -> bool:
        running[0] += 1
        most[0] = max(most[0], running[0])
        let_go.wait(60)
        running[0] -= 1
        return True

    async def rush() -> None:
        checks = CheckDesk()
        asked = [asyncio.ensure_future(checks.checked(check)) for _ in range(10)]
        await asyncio.sleep(0)  # all of them have come
        assert checks.full
        others = [asyncio.to_thread(int, "7") for _ in range(20)]
        assert await asyncio.wait_for(asyncio.gather(*others), 60) == [7] * 20
        let_go.set()
        assert await asyncio.gather(*asked) == [True] * 10
        assert not checks.full

    asyncio.run(rush())
    assert most == [1]


def test_an_address_that_guesses_many_names_has_to_wait():
    clock = Clock()
    brake = Brake(clock)
    assert all(brake.begin(f"name {n}", "10.0.0.9") for n in range(100))
    assert not brake.begin("another", "10.0.0.9")
    assert brake.begin("another", "10.0.0.8")
    clock.now += 300
    assert brake.wait_s("another", "10.0.0.9") == 600
    assert brake.wait_s("another", "10.0.0.8") == 0
    clock.now += 601
    assert brake.begin("another", "10.0.0.9")


def test_one_who_is_wrong_locks_out_nobody_else():
    brake = Brake(Clock())
    assert [brake.begin("Ann", "10.0.0.9") for _ in range(50)] == [True] * 10 + [False] * 40
    assert brake.begin("Bob", "10.0.0.9")
    assert brake.begin("Ann", "10.0.0.8")
    brake.succeeded("Ann", "10.0.0.8")
    assert not brake.begin("Ann", "10.0.0.9")


def test_a_name_that_is_guessed_from_many_addresses_has_to_wait():
    brake = Brake(Clock())
    assert all(brake.begin("Ann", f"10.0.0.{n}") for n in range(100))
    assert not brake.begin("Ann", "10.0.0.200")
    assert brake.begin("Bob", "10.0.0.200")


@pytest.mark.parametrize(
    ("client", "host", "headers", "status"),
    [
        ("127.0.0.1", "127.0.0.1:8000", {}, 202),
        ("127.0.0.1", "127.0.0.1:8000", {"Origin": "http://127.0.0.1:8000"}, 202),
        ("127.0.0.1", "127.0.0.1:8000", {"Origin": "http://evil.example"}, 403),
        ("127.0.0.1", "localhost:8000", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("127.0.0.1", "evil.example:8000", {}, 403),
        ("10.0.0.9", "127.0.0.1:8000", {}, 403),
    ],
)
def test_without_accounts_it_is_this_machine_alone(
    tmp_path: Path, client: str, host: str, *, headers: dict[str, str], status: int
):
    app = web.application(Parts(Settings(data_folder=tmp_path)))
    transport = httpx.ASGITransport(app, client=(client, 1))

    async def asked(method: str, path: str) -> int:
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as asking:
            return (await asking.request(method, path, headers=headers)).status_code

    assert asyncio.run(asked("POST", "/api/deliveries/retry")) == (status if status == 403 else 409)
    if not headers:
        for path in ("/", "/api/studies", "/dicomweb/studies", "/metrics"):
            assert (asyncio.run(asked("GET", path)) == 403) == (status == 403)


def test_an_address_for_others_is_refused_until_somebody_has_an_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "wetread.toml"
    file.write_text('[web]\nhost = "0.0.0.0"\n')
    assert main(["--settings", str(file), "web"]) == 1
    assert "nobody has an account" in capsys.readouterr().err
    main(["--settings", str(file), "check"])
    assert "nobody has an account" in " ".join(capsys.readouterr().out.split())
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    assert main(["--settings", str(file), "users", "add", "Ann", "--role", "engineer"]) == 0
    assert main(["--settings", str(file), "users", "list"]) == 0
    assert re.search(r"Ann\W+engineer", capsys.readouterr().out)
    change = ["--settings", str(file), "users", "role", "Ann", "--role", "administrator"]
    assert main(change) == 0
    assert main(["--settings", str(file), "users", "list"]) == 0
    assert re.search(r"Ann\W+administrator", capsys.readouterr().out)
    assert main(["--settings", str(file), "keys", "add", "ris"]) == 0
    key = capsys.readouterr().out.strip()
    parts = Parts(Settings(data_folder=tmp_path / "wetread-data", web={"host": "0.0.0.0"}))
    book = parts.people
    assert (book.of_key(key).name, book.of_key(key).role) == ("ris", "reader")
    assert book.sign_in("Ann", PASSWORD)
    assert not web.exposed(parts)
    told = [record for record in parts.audit_chain.records() if record.event == "PEOPLE_CHANGED"]
    expected = ("user Ann: add", "user Ann: role administrator", "key ris: add")
    assert [text in record.message for text, record in zip(expected, told, strict=True)] == [
        True
    ] * 3
    assert key not in told[2].message
