"""What people do over HTTP, told to the audit trail: the one place that knows which routes count.

A record is durable before the answer to what changes something begins. Looking is noted without
waiting, and a study that is looked at again within `[audit] visit_min` leaves no further record.
"""

import asyncio
import re
from collections.abc import Hashable
from dataclasses import dataclass, replace

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicom_node.audit.auditor import Auditor
from dicom_node.audit.kinds import DESTINATION, DESTINATION_MEDIA, SOURCE, Kind
from dicom_node.audit.message import MINOR, SERIOUS, SUCCESS, Actor, AuditEvent, Query
from serving.journal import Journal
from serving.people.person import SCOPE, User

_log = structlog.get_logger(__name__)
_FAILED, _MOVED, _NOT_MODIFIED = 400, 300, 304
_TOO_OFTEN = 429
_REFUSALS = (401, 403)
_STUDY = r"(?P<study>[^/]+)"
_WORKLIST = "/dicomweb/workitems"
_WORK = r"/api/workitems/(?P<workitem>[^/]+)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Requests that leave a record, and of which kind."""

    method: str
    path: re.Pattern[str]
    kind: Kind

    @classmethod
    def of(cls, method: str, path: str, kind: Kind) -> "Route":
        """Return the route of a pattern of whole paths."""
        return cls(method=method, path=re.compile(path), kind=kind)


ROUTES = (
    Route.of("GET", f"/dicomweb/studies(/{_STUDY})?(/series(/[^/]+)?)?/(series|instances)",
             Kind.QUERIED),
    Route.of("GET", "/dicomweb/(studies|series|instances)", Kind.QUERIED),
    Route.of("GET", "/dicomweb/workitems(/[^/]+)?", Kind.QUERIED),
    Route.of("POST", "/dicomweb/workitems(/.+)?", Kind.WORKITEM_CHANGED),
    Route.of("PUT", "/dicomweb/workitems/.+", Kind.WORKITEM_CHANGED),
    Route.of("DELETE", "/dicomweb/workitems/.+", Kind.WORKITEM_CHANGED),
    Route.of("GET", f"/dicomweb/studies/{_STUDY}(/.+)?", Kind.ACCESSED),
    Route.of("GET", f"/studies/{_STUDY}(/.+)?", Kind.ACCESSED),
    Route.of("GET", f"/api/studies/{_STUDY}(/assessments|/saved)?", Kind.ACCESSED),
    Route.of("GET", f"/api/studies/{_STUDY}/.+", Kind.EXPORTED),
    Route.of("GET", "/|/api/studies|/api/workitems(/[^/]+)?|/api/deliveries|(/api)?/notifications",
             Kind.QUERIED),
    Route.of("POST", f"/api/studies/{_STUDY}/assessments", Kind.ASSESSED),
    Route.of("POST", f"/api/studies/{_STUDY}/assessments/[^/]+/undo", Kind.UNDONE),
    Route.of("POST", f"/api/studies/{_STUDY}/reanalyse", Kind.REANALYSED),
    Route.of("PATCH", _WORK, Kind.PRIORITISED),
    Route.of("POST", f"{_WORK}/cancel", Kind.CANCELED),
    Route.of("POST", f"{_WORK}/retry", Kind.REANALYSED),
    Route.of("POST", "/api/(deliveries|notifications)/retry", Kind.REDELIVERED),
    Route.of("POST", "/api/notifications/[^/]+/cancel", Kind.CANCELED),
    Route.of("POST", "/api/models/[^/]+/(promote|rollback|retire|shadow)", Kind.MODEL_CHANGED),
    Route.of("POST", "/sign-in", Kind.SIGNED_IN),
    Route.of("GET", "/sign-in/back", Kind.SIGNED_IN),
    Route.of("POST", "/sign-out(/back-channel)?", Kind.SIGNED_OUT),
)  # fmt: skip


def asking(scope: Scope) -> Actor:
    """Return who sent a request, with the role that the gate found."""
    address, state = scope["client"][0] if scope.get("client") else "", scope.get("state", {})
    known: User | None = state.get(SCOPE)
    return Actor(
        user=state.get("asked_by") or "unknown",
        address=address,
        role=DESTINATION,
        rights=known.role if known else "",
        asked=True,
    )


class Audited:
    """An application whose requests leave records; what it refuses too, so it stands outermost."""

    def __init__(self, app: ASGIApp, auditor: Auditor, journal: Journal) -> None:
        self._app, self._auditor, self._journal = app, auditor, journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._tell(scope, message["status"])
            elif message["type"] == "websocket.accept":
                self._note(self._looked(scope, Kind.QUERIED, ""))
            await send(message)

        await self._app(scope, receive, told)

    async def _tell(self, scope: Scope, status: int) -> None:
        found = _route_of(scope)
        if found is not None and found[0].kind is Kind.SIGNED_IN:
            event = self._sign_in(scope, status)
            if status == _TOO_OFTEN:
                self._auditor.note(event, visit=(event.kind, event.actors[0].address))
            else:
                await asyncio.to_thread(self._write, event)
            return
        if status in _REFUSALS:
            self._note(self._refused(scope))
            return
        if found is None or status >= _FAILED:
            return
        route, groups = found
        if route.method == "GET":
            if _MOVED <= status != _NOT_MODIFIED:
                return
            self._note(self._looked(scope, route.kind, groups.get("study") or ""))
        else:
            event = await asyncio.to_thread(self._changed, scope, route.kind, groups)
            await asyncio.to_thread(self._write, event)

    def _note(self, event: AuditEvent) -> None:
        who, visit = event.actors[0], None
        if event.kind is not Kind.EXPORTED:
            about: Hashable = event.study_uid or event.query  # of refusals one stands for all
            visit = (event.kind, who, about)
        self._auditor.note(event, visit=visit)

    def _looked(self, scope: Scope, kind: Kind, study_uid: str) -> AuditEvent:
        who, process = asking(scope), self._auditor.process
        match kind:
            case Kind.QUERIED:
                query = Query(what=scope["path"], asked=scope["query_string"])
                asked = replace(who, role=SOURCE)
                here = Actor(user=process.user, role=DESTINATION)
                return AuditEvent(kind=kind, actors=(asked, here), study_uid=study_uid, query=query)
            case Kind.EXPORTED:
                here = Actor(user=process.user, role=SOURCE)
                media = Actor(user=scope["path"], role=DESTINATION_MEDIA)
                actors = (who, here, media)
                return AuditEvent(kind=kind, actors=actors, study_uid=study_uid)
            case _:
                return AuditEvent(kind=kind, actors=(who, process), study_uid=study_uid)

    def _refused(self, scope: Scope) -> AuditEvent:
        return AuditEvent(
            kind=Kind.RESTRICTED,
            actors=(asking(scope), self._auditor.process),
            about=scope["path"],
            outcome=SERIOUS,
            text=f"{scope['method']} was refused",
        )

    def _sign_in(self, scope: Scope, status: int) -> AuditEvent:
        """Tell of somebody who signed in, or tried to (PS3.15 A.5.3.12)."""
        failed = status >= _FAILED
        outcome = SERIOUS if status == _TOO_OFTEN else MINOR if failed else SUCCESS
        return AuditEvent(
            kind=Kind.SIGNED_IN,
            actors=(asking(scope), self._auditor.process),
            outcome=outcome,
            text="refused" if failed else "",
        )

    def _changed(self, scope: Scope, kind: Kind, groups: dict[str, str | None]) -> AuditEvent:
        item = self._journal.workitem(groups.get("workitem") or "")
        study_uid = groups.get("study") or (item.study_uid if item else "")
        query = scope["query_string"].decode("latin-1")
        if kind is Kind.WORKITEM_CHANGED and scope["path"] != _WORKLIST:
            query = ""  # the transaction UID of a claim is a secret of its performer
        return AuditEvent(
            kind=kind,
            actors=(asking(scope), self._auditor.process),
            study_uid=study_uid,
            about=scope["path"] + (f"?{query}" if query else ""),
        )

    def _write(self, event: AuditEvent) -> None:
        try:
            self._auditor.write(event)
        except SQLAlchemyError:  # it is done: the record follows as soon as it can
            _log.exception("audit_waits")
            self._auditor.note(event)


def _route_of(scope: Scope) -> tuple[Route, dict[str, str | None]] | None:
    """Return the first route that a request takes, and what its path names."""
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    for route in ROUTES:
        if route.method == method and (found := route.path.fullmatch(scope["path"])):
            return route, found.groupdict()
    return None
