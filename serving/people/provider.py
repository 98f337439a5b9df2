"""The OpenID Connect provider: found by discovery, asked to sign people in, and believed by keys.

Answers are bounded in time and size, and no redirect is followed.
"""

import asyncio
import json
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus, urlencode

import httpx

from imaging.errors import NotAuthorized, WetreadError
from serving.people.attempt import Attempt
from serving.people.id_token import ID_TOKEN_NEEDED, Claims, KeyUnknown, must_answer, verified
from serving.people.logout import NEEDED, Logout, logout_of
from serving.people.person import Elsewhere
from serving.people.sign_in_settings import SignInSettings, is_safe

_KNOWN_FOR_S = 3600.0
_LONGEST_ANSWER = 1 << 20
_NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_TOO_LONG = "its answer is longer than 1 MiB"
_NONE: Mapping[str, str] = {}
_KEYS_AGAIN_S = 10.0  # whoever sends logout tokens must not make us ask for keys all the time
_LONGEST_HINT = 4096
_BASIC, _POST = "client_secret_basic", "client_secret_post"


class ProviderAway(WetreadError):
    """The sign-in service does not answer."""


class CodeRefused(NotAuthorized):
    """The sign-in service does not take the code: it was used before, or is not ours."""


class Provider:
    """One provider; what it says of itself is asked again every hour, its keys when needed."""

    def __init__(
        self, settings: SignInSettings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings, self._clock = settings, clock
        self._said: Mapping[str, Any] = {}
        self._keys: Sequence[Claims] = ()
        self._asked_at, self._keys_at = 0.0, 0.0

    async def discovered(self) -> Mapping[str, Any]:
        """Return what it says of itself (OpenID Connect Discovery 1.0).

        Raises
        ------
        ProviderAway
            It cannot be reached, or what it says cannot be used.
        """
        if not self._said or self._clock() - self._asked_at > _KNOWN_FOR_S:
            said = await self._json(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if problem := self._problem(said):
                raise ProviderAway(problem)
            self._said, self._asked_at = said, self._clock()
        return self._said

    async def usable(self) -> None:
        """See that it answers, and that it has keys whose signatures count here.

        Raises
        ------
        ProviderAway
            Why not.
        """
        await self._fetch_keys()
        if not {key.get("kty") for key in self._keys} & {"RSA", "EC", "OKP"}:
            msg = "it shows no public keys, so no ID token could be verified"
            raise ProviderAway(msg)

    async def begin(self, attempt: Attempt) -> str:
        """Return where a browser signs in."""
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.settings.back_url,
            "scope": " ".join(self.settings.scopes),
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
        }
        return _with(str((await self.discovered())["authorization_endpoint"]), asked)

    async def finish(self, attempt: Attempt, code: str) -> tuple[Elsewhere, Claims]:
        """Return who has signed in, and what is told of them.

        Raises
        ------
        ProviderAway
            It does not answer.
        NotAuthorized
            The code does not count, or the answer cannot be trusted.
        """
        token = await self._redeemed(attempt, code)
        if not self._keys:
            await self._fetch_keys()
        try:
            claims = self._verified(token)
        except KeyUnknown:  # keys change
            await self._fetch_keys()
            claims = self._verified(token)
        must_answer(claims, attempt.nonce)
        sid = claims.get("sid")
        who = Elsewhere(
            issuer=self._issuer,
            subject=str(claims["sub"]),
            sid=sid if isinstance(sid, str) else "",
            id_token=token,
        )
        return who, claims

    async def logout(self, token: str, now: float) -> Logout:
        """Return which sessions a logout token ends; `now` in Unix seconds.

        Raises
        ------
        ProviderAway
            Its keys cannot be fetched.
        NotAuthorized
            The token does not count.
        """
        try:
            claims = self._verified(token, NEEDED)
        except KeyUnknown:
            if self._keys and self._clock() - self._keys_at < _KEYS_AGAIN_S:
                raise
            await self._fetch_keys()
            claims = self._verified(token, NEEDED)
        return logout_of(claims, now)

    async def goodbye(self, id_token: str) -> str:
        """Return where a browser signs out of the provider too, or nothing.

        The ID token tells the provider whose session it is, unless it would make the address
        longer than servers like.
        """
        try:
            end = (await self.discovered()).get("end_session_endpoint")
        except ProviderAway:
            return ""
        asked = {
            "client_id": self.settings.client_id,
            "post_logout_redirect_uri": f"{self.settings.public_url}/sign-in",
        }
        asked |= {"id_token_hint": id_token} if 0 < len(id_token) <= _LONGEST_HINT else {}
        return _with(end, asked) if isinstance(end, str) and is_safe(end) else ""

    @property
    def _issuer(self) -> str:
        return self.settings.issuer

    def _problem(self, said: Mapping[str, Any]) -> str:
        if said.get("issuer") != self._issuer:
            return f"it calls itself {said.get('issuer')!r}: that must be the issuer, to the letter"
        for name in _NEEDED:
            if not is_safe(str(said.get(name, ""))):
                return f"its {name} is missing, or no https address"
        if "S256" not in said.get("code_challenge_methods_supported", ["S256"]):
            return "it does not know PKCE with S256"
        return ""

    def _verified(self, token: str, needed: Sequence[str] = ID_TOKEN_NEEDED) -> Claims:
        client_id = self.settings.client_id
        return verified(token, self._keys, issuer=self._issuer, client_id=client_id, needed=needed)

    async def _fetch_keys(self) -> None:
        found = await self._json((await self.discovered())["jwks_uri"])
        keys = found.get("keys")
        self._keys_at = self._clock()
        self._keys = [k for k in keys if isinstance(k, dict)] if isinstance(keys, list) else ()

    async def _redeemed(self, attempt: Attempt, code: str) -> str:
        said, secret = await self.discovered(), self.settings.secret()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.settings.back_url,
            "code_verifier": attempt.verifier,
        }
        ways = said.get("token_endpoint_auth_methods_supported", [_BASIC])
        headers = {}
        if secret and (_BASIC in ways or _POST not in ways):
            pair = f"{quote_plus(self.settings.client_id)}:{quote_plus(secret)}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": self.settings.client_id}
            form |= {"client_secret": secret} if secret else {}
        token = (await self._json(said["token_endpoint"], form, headers)).get("id_token")
        if not isinstance(token, str):
            msg = "its answer holds no ID token"
            raise ProviderAway(msg)
        return token

    async def _json(
        self, url: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] = _NONE
    ) -> dict[str, Any]:
        method, limit_s = "POST" if form else "GET", self.settings.timeout_s
        try:
            async with (
                asyncio.timeout(limit_s),
                httpx.AsyncClient(
                    verify=ssl.create_default_context(cafile=self.settings.ca_file or None),
                    timeout=limit_s,
                    trust_env=False,
                ) as client,
                client.stream(method, url, data=form, headers=dict(headers)) as answer,
            ):
                body = await _body(answer)
        except TimeoutError as error:
            msg = f"no whole answer from {url} within {limit_s:g} s"
            raise ProviderAway(msg) from error
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            msg = f"{url}: {type(error).__name__} {error}"
            raise ProviderAway(msg) from error
        return _object(url, answer.status_code, body)


async def _body(answer: httpx.Response) -> bytes:
    body = b""
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) > _LONGEST_ANSWER:
            raise ProviderAway(_TOO_LONG)
    return body


def _object(url: str, status: int, body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if status == 400 and isinstance(found, dict) and found.get("error") == "invalid_grant":  # noqa: PLR2004
        raise CodeRefused
    if status != 200 or not isinstance(found, dict):  # noqa: PLR2004
        why = found.get("error", "") if isinstance(found, dict) else "no JSON object"
        msg = f"{url} answers with status {status} {why}".rstrip()
        raise ProviderAway(msg)
    return found


def _with(url: str, query: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"
