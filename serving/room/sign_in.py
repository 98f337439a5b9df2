"""Signing in and out."""

from math import ceil
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from serving.people.book import People
from serving.people.brake import Brake
from serving.people.desk import Desk
from serving.people.gate import COOKIE
from serving.people.provider import Provider
from serving.problems import problem
from serving.room.pages import RoomDep, html, local_address

_LONGEST_FORM = 8192
_SOON_S = 10

router = APIRouter(include_in_schema=False)


def _people(request: Request) -> People:
    people: People = request.app.state.people
    return people


PeopleDep = Annotated[People, Depends(_people)]


@router.get("/sign-in")
def sign_in_page(request: Request, room: RoomDep, back: str = "/") -> Response:
    """Ask for name and password."""
    return html(request, room, "sign_in.html", back=local_address(back), problem="", name="")


@router.post("/sign-in")
async def sign_in(request: Request, room: RoomDep, people: PeopleDep) -> Response:
    """Begin a session, or say that name or password is wrong."""
    form = await short_form(request)
    if form is None:
        return problem(413, "Content Too Large", "this is no form of ours")
    name, back = form.get("name", "").strip(), local_address(form.get("back", "/"))
    request.state.asked_by = name  # the audit trail says who tried
    brake: Brake = request.app.state.brake
    address, values = request.client.host if request.client else "", {"back": back, "name": name}
    desk: Desk = request.app.state.desk
    if desk.full or not brake.begin(name, address):
        values["problem"] = "Too many attempts; try again later."
        answer = html(request, room, "sign_in.html", status=429, **values)
        answer.headers["Retry-After"] = str(ceil(brake.wait_s(name, address)) or _SOON_S)
        return answer
    token = await desk.checked(people.sign_in, name, form.get("password", ""))
    if token is None:
        values["problem"] = "Name or password is wrong."
        return html(request, room, "sign_in.html", status=401, **values)
    brake.succeeded(name, address)
    return begun(token, back, secure=_secure(request, people))


@router.post("/sign-out")
async def sign_out(request: Request, room: RoomDep, people: PeopleDep) -> Response:
    """End the session, at the provider too if it began there and that offers it."""
    id_token = await run_in_threadpool(people.sign_out, request.cookies.get(COOKIE, ""))
    provider: Provider | None = request.app.state.provider
    further = await provider.goodbye(id_token) if id_token is not None and provider else ""
    answer: Response = RedirectResponse("/sign-in", status_code=303)
    if further:  # a redirect would be one of the form, which may lead nowhere else
        answer = html(request, room, "signed_out.html", further=further)
        answer.headers["Refresh"] = f"0; url={further}"
    answer.headers["Cache-Control"] = "no-store"
    secure = _secure(request, people)
    answer.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=secure)
    return answer


async def short_form(request: Request) -> dict[str, str] | None:
    """Return the fields of a form, or None when it is too long to be one of ours."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LONGEST_FORM:
            return None
    return {key: values[0] for key, values in parse_qs(body.decode("utf-8", "replace")).items()}


def begun(token: str, back: str, *, secure: bool) -> Response:
    """Return the answer that begins a session in a browser."""
    answer = RedirectResponse(back, status_code=303, headers={"Cache-Control": "no-store"})
    answer.set_cookie(COOKIE, token, httponly=True, samesite="lax", secure=secure)
    return answer


def _secure(request: Request, people: People) -> bool:
    return people.rules.secure or request.url.scheme == "https"
