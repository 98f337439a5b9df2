"""Signing in at an OpenID Connect provider, and whoever tries to get in that way."""

import asyncio
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from pydantic import ValidationError
from starlette.types import ASGIApp

from serving import web
from serving.__main__ import main
from serving.commands.check import check
from serving.parts import Parts
from serving.settings import Settings, load
from tests.serving.identity_provider import LOGOUT, Lying, new_key, running

HOME = "http://127.0.0.1:8000"
PASSWORD = "correct horse battery"
NOT_TRUSTED = "does not count; nobody was signed in"


@pytest.fixture
def provider() -> Iterator[Lying]:
    with running() as lying:
        yield lying


def rules(provider: Lying, **more: Any) -> dict[str, Any]:
    return {
        "issuer": provider.issuer,
        "client_id": "wetread",
        "client_secret": "s3cret",
        "public_url": HOME,
        "roles_claim": "groups.ai",
        "roles": {"radiologists": "reader", "it": "administrator"},
        "timeout_s": 20,  # busy machines are slow
    } | more


class Browser:
    """Keeps cookies, and follows no redirect."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self.cookies = app, httpx.Cookies()
        self.headers = {"Origin": HOME}

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self._ask("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self._ask("POST", path, **more)

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return asyncio.run(self._asked(method, path, **more))

    async def _asked(self, method: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self._app, client=("127.0.0.1", 5))
        async with httpx.AsyncClient(
            transport=transport, base_url=HOME, headers=self.headers, cookies=self.cookies
        ) as client:
            answer = await client.request(method, path, **more)
            self.cookies = client.cookies
            return answer


class Hospital:
    """An installation that signs people in at the provider."""

    def __init__(self, folder: Path, provider: Lying, **more: Any) -> None:
        self.provider = provider
        self.parts = Parts(Settings(data_folder=folder, sign_in=rules(provider, **more)))
        self.app = web.application(self.parts)

    def browser(self) -> "Browser":
        return Browser(self.app)

    def sign_in(self, browser: "Browser", back: str = "/?read=all") -> httpx.Response:
        begun = browser.get("/sign-in/there", params={"back": back})
        assert begun.status_code == 303, begun.text
        return browser.get(self.provider.authorize(begun.headers["location"]))

    def told(self) -> list[tuple[str, str]]:
        """Return who signed in or tried to, and how it ended."""
        records = self.parts.audit_chain.records()
        return [
            (record.user, "refused" if "refused" in record.message else "in")
            for record in records
            if record.event == "SIGNED_IN"
        ]


@pytest.fixture
def hospital(tmp_path: Path, provider: Lying) -> Hospital:
    return Hospital(tmp_path, provider)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """One for those who never get in."""
    with running() as lying:
        yield Hospital(tmp_path_factory.mktemp("guarded"), lying)


@pytest.fixture
def attacked(guarded: Hospital) -> Hospital:
    guarded.provider.claims, guarded.provider.algorithm = {}, "RS256"
    return guarded


def test_who_has_a_role_gets_in_and_out_again(hospital: Hospital):
    browser = hospital.browser()
    assert browser.get("/", headers={"Accept": "text/html"}).status_code == 303
    assert "single sign-on" in browser.get("/sign-in").text
    answer = hospital.sign_in(browser)
    assert (answer.status_code, answer.headers["location"]) == (303, "/?read=all")
    assert "wetread-sign-in" not in browser.cookies
    assert "lin" in browser.get("/").text
    assert browser.post("/api/deliveries/retry").status_code == 403  # a reader
    out = browser.post("/sign-out")
    assert out.headers["refresh"].startswith(f"0; url={hospital.provider.issuer}/end?client_id=")
    hint = parse_qs(urlsplit(out.headers["refresh"].partition("url=")[2]).query)["id_token_hint"]
    assert jwt.decode(hint[0], options={"verify_signature": False})["sub"] == "42"
    assert browser.get("/api/studies").status_code == 401
    assert hospital.told() == [("lin", "in")]


def test_roles_and_names_follow_the_provider(hospital: Hospital):
    browser, provider = hospital.browser(), hospital.provider
    hospital.sign_in(browser)
    provider.claims = {"preferred_username": "Lin ^Wei", "groups": {"ai": ["radiologists", "it"]}}
    hospital.sign_in(hospital.browser())
    (user,) = hospital.parts.people.users()
    assert (user.name, user.role) == ("Lin -Wei", "administrator")
    assert browser.get("/api/studies").status_code == 200  # the session goes on
    assert browser.post("/api/deliveries/retry").status_code != 403


@pytest.mark.parametrize("groups", [None, {"ai": ["cooks"]}, {"ai": {"it": 1}}, ["it"], "it"])
def test_who_has_no_role_is_told_so(attacked: Hospital, groups: object):
    attacked.provider.claims = {"groups": groups}
    browser = attacked.browser()
    browser.headers["Accept-Language"] = "zh"
    answer = attacked.sign_in(browser)
    assert answer.status_code == 403
    assert "您在此没有角色" in answer.text
    assert browser.get("/api/studies").status_code == 401
    assert attacked.parts.people.users() == ()
    assert attacked.told()[-1] == ("lin", "refused")


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"aud": "another"},
        {"aud": ["wetread", "another"]},
        {"aud": ["wetread", "another"], "azp": "another"},
        {"azp": "another"},
        {"iss": "http://127.0.0.1:1"},
        {"exp": 1_000_000_000},
        {"iat": 9_000_000_000},
        {"exp": None},
        {"sub": None},
    ],
)
def test_a_token_that_is_not_for_this_sign_in_is_refused(
    attacked: Hospital, claims: dict[str, object]
):
    attacked.provider.claims = claims
    browser = attacked.browser()
    answer = attacked.sign_in(browser)
    assert answer.status_code == 403
    assert NOT_TRUSTED in answer.text
    assert browser.get("/api/studies").status_code == 401
    assert attacked.parts.people.users() == ()


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_a_token_without_a_signature_of_a_private_key_is_refused(
    attacked: Hospital, algorithm: str
):
    attacked.provider.algorithm = algorithm
    answer = attacked.sign_in(attacked.browser())
    assert (answer.status_code, NOT_TRUSTED in answer.text) == (403, True)


def test_keys_may_change_but_others_keys_do_not_count(hospital: Hospital):
    provider = hospital.provider
    assert hospital.sign_in(hospital.browser()).status_code == 303
    provider.rotate()
    assert hospital.sign_in(hospital.browser()).status_code == 303
    assert provider.asked.count("/keys") == 2
    provider.signing = new_key()  # the name of a key that it shows, but not that key
    assert hospital.sign_in(hospital.browser()).status_code == 403
    provider.kid = "not shown"
    assert hospital.sign_in(hospital.browser()).status_code == 403


def test_an_answer_counts_in_the_browser_that_asked_and_once(hospital: Hospital):
    victim, attacker = hospital.browser(), hospital.browser()
    there = attacker.get("/sign-in/there").headers["location"]
    back = hospital.provider.authorize(there)
    victim.get("/sign-in/there")
    for browser in (victim, hospital.browser()):
        refused = browser.get(back)
        assert refused.status_code == 403
        assert "another browser" in refused.text
    wrong = attacker.get(back.replace("state=", "state=x"))
    assert wrong.status_code == 403
    attacker.cookies.clear()
    there = attacker.get("/sign-in/there").headers["location"]
    cookie = attacker.cookies["wetread-sign-in"]
    back = hospital.provider.authorize(there)
    assert attacker.get(back).status_code == 303
    again = hospital.browser()
    again.headers["Cookie"] = f"wetread-sign-in={cookie}"
    replayed = again.get(back)
    assert replayed.status_code == 403
    assert NOT_TRUSTED in replayed.text


def test_nobody_is_sent_elsewhere_afterwards(hospital: Hospital):
    for back in ("//evil.example", "https://evil.example", "/\\evil.example"):
        assert hospital.sign_in(hospital.browser(), back).headers["location"] == "/"


def test_another_mans_name_is_not_taken_over(hospital: Hospital):
    hospital.parts.people.add_user("lin", "administrator", PASSWORD)
    browser = hospital.browser()
    answer = hospital.sign_in(browser)
    assert (answer.status_code, "has your name" in answer.text) == (403, True)
    assert browser.get("/api/studies").status_code == 401


def test_an_outage_is_said_and_local_administrators_still_get_in(tmp_path: Path, provider: Lying):
    hospital = Hospital(tmp_path, provider, local_accounts="administrators", timeout_s=2)
    for name, role in (("Ann", "administrator"), ("Bob", "reader")):
        hospital.parts.people.add_user(name, role, PASSWORD)
    provider.away = True
    browser = hospital.browser()
    answer = browser.get("/sign-in/there")
    assert answer.status_code == 503
    assert "does not answer" in answer.text
    assert "only administrators" in answer.text
    given = {"Ann": 303, "Bob": 401}
    for name, status in given.items():
        answer = hospital.browser().post("/sign-in", data={"name": name, "password": PASSWORD})
        assert answer.status_code == status


def test_with_a_provider_nobody_is_let_in_unknown(hospital: Hospital):
    assert hospital.browser().get("/api/studies").status_code == 401
    with_none = {"name": "lin", "password": ""}
    hospital.sign_in(hospital.browser())
    assert hospital.browser().post("/sign-in", data=with_none).status_code == 401


def test_check_asks_the_provider(
    tmp_path: Path, provider: Lying, capsys: pytest.CaptureFixture[str]
):
    def told(**more: Any) -> str:
        check(Settings(data_folder=tmp_path, sign_in=rules(provider, **more)))
        return " ".join(capsys.readouterr().out.split())

    assert f"redirect URI {HOME}/sign-in/back" in told()
    assert "to the letter" in told(issuer=f"{provider.issuer}/")
    assert "client_secret_file cannot be read" in told(client_secret_file=str(tmp_path / "x"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "http://idp.example"},
        {"public_url": "http://wetread.example"},
        {"public_url": "https://wetread.example/path"},
        {"roles": {}},
        {"client_id": ""},
        {"scopes": ["profile"]},
        {"roles": {"it": "king"}},
    ],
)
def test_settings_that_would_be_unsafe_are_refused(wrong: dict[str, Any]):
    good = {"issuer": "https://idp.example", "client_id": "x", "roles": {"it": "reader"}}
    Settings(sign_in=good)
    with pytest.raises(ValidationError):
        Settings(sign_in=good | wrong)
    with pytest.raises(ValidationError, match="needs public_url"):
        Settings(sign_in=good, web={"host": "0.0.0.0"})


def test_files_and_addresses_start_where_the_settings_are(tmp_path: Path):
    (tmp_path / "secret").write_text("s3cret\n")
    (tmp_path / "wetread.toml").write_text(
        '[sign_in]\nissuer = "https://idp.example"\nclient_id = "wetread"\n'
        'client_secret_file = "secret"\nroles = { it = "administrator" }\n'
    )
    found = load(tmp_path / "wetread.toml", {}).sign_in
    assert (found.secret(), found.back_url) == ("s3cret", f"{HOME}/sign-in/back")


def test_cookies_go_over_https_only_where_browsers_use_it(tmp_path: Path, provider: Lying):
    hospital = Hospital(tmp_path, provider, public_url="https://wetread.example")
    begun = hospital.browser().get("/sign-in/there").headers["set-cookie"]
    assert begun.startswith("__Host-wetread-sign-in=")
    assert {"Secure", "HttpOnly", "SameSite=lax", "Path=/"} <= set(begun.split("; "))


def over(hospital: Hospital, token: str) -> int:
    """Send a logout token as a provider does: no browser, no cookie, no origin."""
    provider = Browser(hospital.app)
    provider.headers = {}
    answer = provider.post("/sign-out/back-channel", data={"logout_token": token})
    assert answer.headers["cache-control"] == "no-store"
    return answer.status_code


def is_in(browser: Browser) -> bool:
    return browser.get("/api/studies").status_code == 200


def test_the_provider_ends_one_session_or_all_of_a_person(hospital: Hospital):
    provider = hospital.provider
    first, second, other = (hospital.browser() for _ in range(3))
    for browser, claims in (
        (first, {"sid": "a"}),
        (second, {"sid": "b"}),
        (other, {"sid": "c", "sub": "7", "preferred_username": "omar"}),
    ):
        provider.claims = claims
        hospital.sign_in(browser)
    assert over(hospital, provider.logout_token(sid="b", sub="7")) == 200  # not omar's
    assert [is_in(b) for b in (first, second, other)] == [True, True, True]
    assert over(hospital, provider.logout_token(sid="b", sub=None)) == 200
    assert [is_in(b) for b in (first, second, other)] == [True, False, True]
    assert over(hospital, provider.logout_token()) == 200
    assert [is_in(b) for b in (first, second, other)] == [False, False, True]
    assert over(hospital, provider.logout_token()) == 200  # nobody is left, and that is fine
    records = hospital.parts.audit_chain.records()
    assert [r.user for r in records if r.event == "SIGNED_OUT"][1:3] == ["lin", "lin"]


def test_a_logout_token_counts_once_also_after_a_restart(hospital: Hospital):
    token = hospital.provider.logout_token()
    assert over(hospital, token) == 200
    browser = hospital.browser()
    hospital.sign_in(browser)
    hospital.app = web.application(Parts(hospital.parts.settings))
    assert over(hospital, token) == 400
    assert is_in(browser)


HOUR = 3600
WRONG: tuple[dict[str, Any], ...] = (
    {"iss": "https://id.example"},
    {"aud": "another"},
    {"iat": None},
    {"iat": int(time.time()) - HOUR, "exp": int(time.time()) + HOUR},
    {"exp": int(time.time()) - HOUR},
    {"jti": None},
    {"jti": ""},
    {"events": None},
    {"events": {"http://schemas.openid.net/event/other": {}}},
    {"events": {LOGOUT: "x"}},
    {"nonce": "x"},
    {"sub": None},
    {"sub": None, "sid": 5},
)


def test_a_logout_token_that_does_not_count_ends_nothing(hospital: Hospital):
    browser, provider = hospital.browser(), hospital.provider
    hospital.sign_in(browser)
    assert [c for c in WRONG if over(hospital, provider.logout_token(**c)) != 400] == []
    assert over(hospital, "") == over(hospital, provider.signed("x")) == 400  # an ID token
    for provider.algorithm in ("none", "HS256"):
        assert over(hospital, provider.logout_token()) == 400
    provider.algorithm, honest = "RS256", provider.signing
    provider.signing = new_key()
    assert over(hospital, provider.logout_token()) == 400
    assert is_in(browser)
    provider.signing = honest
    assert over(hospital, provider.logout_token()) == 200
    assert not is_in(browser)


def test_a_password_of_the_provider_is_not_changed_here(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    browser = hospital.browser()
    hospital.sign_in(browser)
    settings = hospital.parts.settings
    monkeypatch.setenv("WETREAD_DATA_FOLDER", str(settings.data_folder))
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    assert main(["users", "password", "lin"]) == 1
    said = capsys.readouterr().err
    assert f"'lin' signs in at {hospital.provider.issuer}" in said
    assert "the password is kept and changed there" in said
    assert is_in(browser)
