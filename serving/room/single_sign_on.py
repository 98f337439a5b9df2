"""Signing in at the provider of the hospital: there and back."""

import time
from typing import Annotated, get_args
from urllib.parse import quote, unquote

import structlog
from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from imaging.errors import Conflict, NotAuthorized, NotFound, SetupError, WetreadError
from serving.people.attempt import LONGEST_S, Attempt
from serving.people.book import fitting_name
from serving.people.id_token import Claims, claim
from serving.people.logout import PATH
from serving.people.person import Role
from serving.people.provider import Provider, ProviderAway
from serving.people.sign_in_settings import SignInSettings
from serving.problems import problem
from serving.room.pages import RoomDep, html, local_address
from serving.room.sign_in import PeopleDep, begun, short_form

_log = structlog.get_logger(__name__)
_AWAY = "The sign-in service does not answer. Try again later, or use an account of Wetread."
_NOT_TRUSTED = (
    "The answer of the sign-in service does not count; nobody was signed in. Begin again."
)
_OTHER = "This sign-in was begun in another browser, or too long ago. Begin again."
_CANCELED = "The sign-in service signed nobody in."
_NO_ROLE = "You are known, but have no role here. Ask your administrator for one."
_TAKEN = "Somebody else has your name here already. Ask your administrator."

router = APIRouter(include_in_schema=False)


def _provider(request: Request) -> Provider:
    provider: Provider | None = request.app.state.provider
    if provider is None:
        msg = "no sign-in service is configured"
        raise NotFound(msg)
    return provider


ProviderDep = Annotated[Provider, Depends(_provider)]


@router.get("/sign-in/there")
async def there(
    request: Request, room: RoomDep, provider: ProviderDep, *, back: str = "/"
) -> Response:
    """Send a browser to the provider."""
    attempt, settings = Attempt(), provider.settings
    try:
        address = await provider.begin(attempt)
    except ProviderAway as error:
        return _refused(request, room, error)
    answer = RedirectResponse(address, status_code=303, headers={"Cache-Control": "no-store"})
    kept = f"{attempt.secret}.{quote(local_address(back), safe='')}"
    answer.set_cookie(
        _cookie(settings), kept, max_age=LONGEST_S, httponly=True, samesite="lax",
        secure=settings.secure,
    )  # fmt: skip
    return answer


@router.get("/sign-in/back")
async def back(  # noqa: PLR0913
    request: Request,
    room: RoomDep,
    *,
    people: PeopleDep,
    provider: ProviderDep,
    state: str = "",
    code: str = "",
    error: str = "",
    iss: str = "",
) -> Response:
    """Begin a session of whom the provider has signed in, or say why not."""
    settings = provider.settings
    secret, _, where = request.cookies.get(_cookie(settings), "").partition(".")
    attempt = Attempt(secret)
    try:
        if not (secret and attempt.is_answered(state)):
            raise NotAuthorized(_OTHER)
        if error or not code:
            raise NotAuthorized(_CANCELED)
        if iss and iss != settings.issuer:  # RFC 9207: the answer of another provider
            raise NotAuthorized(_NOT_TRUSTED)
        who, claims = await provider.finish(attempt, code)
        name = fitting_name(claim(claims, settings.name_claim), who.subject)
        request.state.asked_by = name
        role = role_of(claims, settings)
        if role is None:
            raise NotAuthorized(_NO_ROLE)
        token = await run_in_threadpool(people.admit, who, name, role)
        answer = begun(token, local_address(unquote(where)), secure=settings.secure)
    except WetreadError as failed:
        answer = _refused(request, room, failed)
    answer.delete_cookie(_cookie(settings), httponly=True, samesite="lax", secure=settings.secure)
    return answer


@router.post(PATH)
async def back_channel(request: Request, people: PeopleDep, provider: ProviderDep) -> Response:
    """End the sessions that the provider says are over (OpenID Connect Back-Channel Logout 1.0)."""
    form = await short_form(request)
    try:
        logout = await provider.logout((form or {}).get("logout_token", ""), time.time())
        request.state.asked_by = await run_in_threadpool(people.log_out, logout)
    except (NotAuthorized, Conflict) as refused:
        _log.warning("logout_refused", why=type(refused).__name__, detail=str(refused))
        answer: Response = problem(400, "Bad Request", "this logout token does not count")
    except ProviderAway as away:
        _log.warning("logout_refused", why=type(away).__name__, detail=str(away))
        answer = problem(503, "Service Unavailable", "the provider's keys cannot be fetched")
    else:
        answer = Response(status_code=200)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def role_of(claims: Claims, settings: SignInSettings) -> Role | None:
    """Return the highest of our roles that somebody has, if any."""
    told = claim(claims, settings.roles_claim)
    given = [told] if isinstance(told, str) else told if isinstance(told, list) else []
    ours = {
        settings.roles[each] for each in given if isinstance(each, str) and each in settings.roles
    }
    return next((role for role in reversed(get_args(Role)) if role in ours), None)


def _cookie(settings: SignInSettings) -> str:
    # With __Host- no other host of the same domain can have set it.
    return "__Host-wetread-sign-in" if settings.secure else "wetread-sign-in"


def _refused(request: Request, room: RoomDep, error: WetreadError) -> Response:
    status, said = 403, _NOT_TRUSTED
    if isinstance(error, (ProviderAway, SetupError)):
        status, said = 503, _AWAY
    elif isinstance(error, Conflict):
        said = _TAKEN
    elif str(error) in {_OTHER, _CANCELED, _NO_ROLE}:
        said = str(error)
    _log.warning("sign_in_refused", why=type(error).__name__, detail=str(error))
    return html(request, room, "sign_in.html", status=status, back="/", problem=said, name="")
