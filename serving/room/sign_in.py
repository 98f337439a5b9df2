"""Signing in and out."""

import asyncio
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from serving.people.book import People
from serving.people.brake import Brake
from serving.people.gate import COOKIE
from serving.problems import problem
from serving.room.pages import RoomDep, html, local_address

_LONGEST_FORM = 8192

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
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LONGEST_FORM:
            return problem(413, "Content Too Large", "this is no form of ours")
    form = {key: values[0] for key, values in parse_qs(body.decode("utf-8", "replace")).items()}
    name, back = form.get("name", "").strip(), local_address(form.get("back", "/"))
    request.state.asked_by = name  # the audit trail says who tried
    brake: Brake = request.app.state.brake
    address, token = request.client.host if request.client else "", None
    allowed = brake.begin(name, address)
    if allowed:
        token = await asyncio.to_thread(people.sign_in, name, form.get("password", ""))
    if token is None:
        text = "Name or password is wrong." if allowed else "Too many attempts; try again later."
        values = {"back": back, "problem": text, "name": name}
        return html(request, room, "sign_in.html", status=401 if allowed else 429, **values)
    brake.succeeded(name, address)
    answer = RedirectResponse(back, status_code=303, headers={"Cache-Control": "no-store"})
    secure = people.rules.secure or request.url.scheme == "https"
    answer.set_cookie(COOKIE, token, httponly=True, samesite="lax", secure=secure)
    return answer


@router.post("/sign-out")
def sign_out(request: Request, people: PeopleDep) -> Response:
    """End the session."""
    people.sign_out(request.cookies.get(COOKIE, ""))
    answer = RedirectResponse("/sign-in", status_code=303, headers={"Cache-Control": "no-store"})
    answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
    return answer
