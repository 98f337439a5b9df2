"""The pages of the reading room: escaped by the templates, nothing inline under a strict CSP."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import BaseModel, Field
from starlette.staticfiles import StaticFiles

from dicom_node.archive import Archive
from dicom_node.index import Index
from imaging.errors import NotFound
from imaging.verdict import RejectReason
from models.registry import Registry
from serving.assessments import Assessments
from serving.current_user import current_user
from serving.journal import Journal
from serving.people.person import User
from serving.people.rights import may, needed
from serving.room import show
from serving.room.figures import figures_since
from serving.room.language import COOKIE, Words, chosen, number
from serving.room.pictures import SIZES, Pictures, Wish, overlays_of
from serving.room.study import StudyPages
from serving.room.worklist import MOST_COUNTED, STATES, AiState, Wanted, Worklist
from serving.saved_objects import SavedObjects
from serving.settings import WETREAD_VERSION

STATIC = Path(__file__).parent / "static"
PER_PAGE = 50
_A_YEAR_S = 31_536_000
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What the pages are made from."""

    index: Index
    journal: Journal
    registry: Registry
    assessments: Assessments
    worklist: Worklist
    pictures: Pictures
    studies: StudyPages
    templates: Environment
    clock: Callable[[], float]


def furnished(
    *,
    index: Index,
    archive: Archive,
    journal: Journal,
    registry: Registry,
    assessments: Assessments,
    saved: SavedObjects,
) -> Room:
    """Return the reading room on these parts."""
    pictures = Pictures(index, archive)
    return Room(
        index=index,
        journal=journal,
        registry=registry,
        assessments=assessments,
        worklist=Worklist(index),
        pictures=pictures,
        studies=StudyPages(
            index=index,
            journal=journal,
            registry=registry,
            assessments=assessments,
            saved=saved,
            pictures=pictures,
        ),
        templates=_templates(),
        clock=time.time,
    )


def static_files() -> StaticFiles:
    """Return the scripts, styles and pictures of the pages."""
    return StaticFiles(directory=STATIC)


def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("serving.room"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "person": show.person,
        "date": show.date,
        "clock": show.clock,
        "number": number,
    }
    templates.globals |= {
        "duration": show.duration,
        "age": show.age,
        "viewer": show.viewer_address,
        "version": WETREAD_VERSION,
    }
    return templates


def _room(request: Request) -> Room:
    room: Room = request.app.state.room
    return room


RoomDep = Annotated[Room, Depends(_room)]


class ListQuery(BaseModel):
    """The filters of the worklist, as the form sends them."""

    text: str = ""
    modality: str = ""
    state: str = ""
    date_from: str = ""
    date_to: str = ""
    findings: str = ""
    read: str = ""
    page: int = Field(1, ge=1, le=100_000)

    @property
    def wanted(self) -> Wanted:
        """The same as the worklist takes it; what cannot be meant restricts nothing."""
        state: AiState | None = next((s for s in get_args(AiState) if s == self.state), None)
        return Wanted(
            text=self.text.strip(),
            modality=self.modality.strip(),
            state=state,
            date_from=_digits(self.date_from),
            date_to=_digits(self.date_to),
            with_findings=bool(self.findings),
            read={"all": None, "only": True}.get(self.read, False),
        )

    def at(self, page: int) -> str:
        """Return the address of another page of the same list."""
        values = self.model_dump(exclude_defaults=True) | {"page": page}
        return f"/?{urlencode(values)}"


class Look(BaseModel):
    """How a slice is shown; `v` only tells caches that outlines have changed."""

    window: str = Field("auto", pattern=r"^[a-z]{1,16}$")
    size: int = SIZES[-1]
    overlay: bool = True
    v: str = ""


def _digits(date: str) -> str:
    """Return ``2026-01-31`` of a date field as the index has it."""
    plain = date.replace("-", "")
    return plain if plain.isascii() and plain.isdecimal() and len(plain) == len("20260131") else ""


@router.get("/")
def worklist(request: Request, room: RoomDep, query: Annotated[ListQuery, Query()]) -> Response:
    """Show the worklist."""
    now, event = room.clock(), room.journal.last_event_id()
    offset = (query.page - 1) * PER_PAGE
    page = room.worklist.page(query.wanted, now=now, limit=PER_PAGE, offset=offset)
    midnight = datetime.fromtimestamp(now).astimezone().replace(hour=0, minute=0, second=0)
    return html(
        request,
        room,
        "worklist.html",
        page=page,
        query=query,
        links={"before": query.at(query.page - 1), "after": query.at(query.page + 1)},
        states=STATES,
        pages=max(1, -(-page.total // PER_PAGE)),
        most=MOST_COUNTED,
        figures=figures_since(room.index, room.assessments, midnight.timestamp()),
        now=now,
        event=event,
    )


@router.get("/studies/{study_uid}")
def study(request: Request, room: RoomDep, study_uid: str, *, series: str = "") -> Response:
    """Show one study."""
    now, event = room.clock(), room.journal.last_event_id()
    try:
        page = room.studies.page(study_uid, now=now, series_uid=series)
    except NotFound:
        return html(request, room, "missing.html", status=404)
    drawn = hashlib.sha256(" ".join(page.overlays).encode()).hexdigest()[:8]
    return html(
        request,
        room,
        "study.html",
        page=page,
        drawn=drawn,
        now=now,
        event=event,
        reasons=RejectReason,
    )


@router.get("/studies/{study_uid}/series/{series_uid}/{place}.jpg")
def picture(
    room: RoomDep, study_uid: str, series_uid: str, *, place: int, look: Annotated[Look, Query()]
) -> Response:
    """Return one slice as a picture."""
    shown = overlays_of(room.journal.results(study_uid=study_uid)) if look.overlay else ()
    wish = Wish(
        study_uid=study_uid,
        series_uid=series_uid,
        place=place,
        window=look.window,
        size=look.size if look.size in SIZES else SIZES[-1],
        overlay=shown,
    )
    headers = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}
    return Response(room.pictures.jpeg(wish), media_type="image/jpeg", headers=headers)


@router.get("/models/{name}")
def model(request: Request, room: RoomDep, name: str) -> Response:
    """Show the card of an installed model."""
    package = next((p for p in room.registry.packages() if p.manifest.name == name), None)
    if package is None:
        return html(request, room, "missing.html", status=404)
    return html(request, room, "model.html", package=package)


@router.get("/language/{language}")
def language(language: str, back: str = "/") -> Response:
    """Choose the language of all pages and go back."""
    answer = RedirectResponse(local_address(back), status_code=303, headers=_HEADERS)
    answer.set_cookie(
        COOKIE,
        chosen(language, None, None),
        max_age=_A_YEAR_S,
        httponly=True,
        samesite="lax",
    )
    return answer


def local_address(back: str) -> str:
    """Return where to go back to, if it is here; else the worklist."""
    plain = back.isprintable() and back.startswith("/") and not back.startswith(("//", "/\\"))
    return back if plain else "/"


def _may(user: User, method: str, path: str) -> bool:
    """Whether the server would let somebody ask this; pages offer nothing else."""
    return may(user.role, needed(method, path))


def html(
    request: Request, room: Room, template: str, *, status: int = 200, **values: Any
) -> Response:
    """Return a page in the language of whoever asks."""
    words = Words(
        chosen(
            request.query_params.get("lang"),
            request.cookies.get(COOKIE),
            request.headers.get("accept-language"),
        )
    )
    values.setdefault("event", 0)
    user = current_user(request)
    values |= {"user": user, "may": partial(_may, user), "provider": request.app.state.provider}
    values["tells"] = bool(request.app.state.targets) and _may(user, "GET", "/notifications")
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    body = room.templates.get_template(template).render(t=words, here=here, **values)
    return HTMLResponse(body, status_code=status, headers=_HEADERS)
