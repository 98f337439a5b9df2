"""The gate before everything that is served: who asks, and whether they may.

Without any account or key it is this machine alone, as an administrator; else a key or a session.
"""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.people.book import People
from serving.people.logout import PATH as BACK_CHANNEL
from serving.people.origin import is_foreign, is_here
from serving.people.pace import Pace, client_of, is_free
from serving.people.person import LOCAL, SCOPE, User
from serving.people.rights import may, needed
from serving.problems import problem

COOKIE = "wetread-session"
_SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
_FOR_PROGRAMS = ("/api/", "/dicomweb/", "/metrics", "/readyz")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody may not."""

    status: int
    detail: str
    wait_s: int = 0


@dataclass(frozen=True, slots=True)
class Gate:
    """Lets through to an application who may."""

    app: ASGIApp
    people: People
    pace: Pace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let it be answered."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})
        request = HTTPConnection(scope)
        found = await asyncio.to_thread(self.admitted, request)
        found = self._too_fast(request) or found
        if not isinstance(found, Refusal):
            await self.app(scope, receive, _unkept(scope["path"], send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": found.detail})
        else:
            await _answer(request, found)(scope, receive, send)

    def _too_fast(self, request: HTTPConnection) -> Refusal | None:
        """Count a request, whatever becomes of it, and return a refusal when it is too much."""
        user: User | None = request.scope["state"].get(SCOPE)
        if is_free(request.scope["path"], user):
            return None
        wait_s = self.pace.wait_s(client_of(user, request.client.host if request.client else ""))
        return (
            Refusal(429, f"too many requests; come back in {wait_s} s", wait_s) if wait_s else None
        )

    def admitted(self, request: HTTPConnection) -> User | Refusal | None:
        """Return who asks and may, or why not; None where nobody needs to be known."""
        method: str = request.scope.get("method", "GET")
        need = needed(method, request.scope["path"])
        user = None if need == "nobody" else self._known(request)
        if isinstance(user, Refusal):
            return user
        if user:
            # Refusals are recorded under this name too.
            request.scope["state"].update({SCOPE: user, "asked_by": user.name})
        changes = method not in _SAFE or request.scope["type"] == "websocket"
        how = user.how if user else "session"  # signing in is for browsers too
        signed = request.scope["path"] == BACK_CHANNEL  # by the provider, which is no browser
        if (
            changes
            and how != "key"
            and not signed
            and is_foreign(request, browser=how == "session")
        ):
            return Refusal(403, "a page of another site may not do this; use the pages here")
        if user and not may(user.role, need):
            return Refusal(403, f"this needs the role {need}; {user.name} is {user.role}")
        return user

    def _known(self, request: HTTPConnection) -> User | Refusal:
        if not self.people.guarded():
            return LOCAL if is_here(request) else Refusal(403, _ONLY_HERE)
        given = request.headers.get("authorization")
        if given is not None:
            kind, _, key = given.partition(" ")
            user = self.people.of_key(key.strip()) if kind.lower() == "bearer" else None
            return user or Refusal(401, "this is not a key that is valid here")
        token = request.cookies.get(COOKIE)
        user = self.people.of_session(token) if token else None
        return user or Refusal(401, "sign in, or send a key as Authorization: Bearer")


def _unkept(path: str, send: Send) -> Send:
    """Let no cache keep what REST answers about patients, unless an answer says more itself."""
    if not path.startswith("/api/"):
        return send

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).setdefault("Cache-Control", "no-store")
        await send(message)

    return told


_ONLY_HERE = "this machine only is served, because nobody has an account or a key yet"


def _answer(request: HTTPConnection, refusal: Refusal) -> Response:
    path = request.url.path
    page = "text/html" in request.headers.get("accept", "") and not path.startswith(_FOR_PROGRAMS)
    if refusal.status == 401 and page and request.scope["method"] == "GET":  # noqa: PLR2004
        back = path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sign-in?{urlencode({'back': back})}", status_code=303)
    answer = problem(refusal.status, HTTPStatus(refusal.status).phrase, refusal.detail)
    answer.headers["Cache-Control"] = "no-store"
    if refusal.wait_s:
        answer.headers["Retry-After"] = str(refusal.wait_s)
    if refusal.status == 401:  # noqa: PLR2004
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer
