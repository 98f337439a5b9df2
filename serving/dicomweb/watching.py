"""UPS-RS: subscribing to work items, and the channel of their event reports (PS3.18 11.10 on)."""

import asyncio
import json
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from imaging.errors import InputError, NotAuthorized, SetupError
from imaging.identity import ae_title
from serving.dicomweb.admission import admit
from serving.dicomweb.bodies import base_of
from serving.dicomweb.query import pairs_of
from serving.people.origin import is_foreign
from serving.ups.analyses import Analyses
from serving.ups.matching import Keys
from serving.ups.reports import state_report
from serving.ups.subscriptions import ALL, FILTERED, Kept, Subscriptions
from serving.ups.worklist import Worklist

_POLL_S = 0.5
_AT_ONCE = 100
_REFUSED = 1008
_NOT_KEYS = frozenset(("deletionlock", "filter"))


class Watching:
    """The subscriptions of one worklist."""

    def __init__(
        self, worklist: Worklist, analyses: Analyses, subscriptions: Subscriptions
    ) -> None:
        self._worklist, self._analyses = worklist, analyses
        self._subscriptions = subscriptions

    async def subscribe(self, request: Request) -> Response:
        """Watch a work item, or all, or all that match (PS3.18 11.10)."""
        return await asyncio.to_thread(self._subscribe, request)

    def _subscribe(self, request: Request) -> Response:
        title, uid = _title(request.path_params["subscriber"]), request.path_params["workitem"]
        self._analyses.catch_up()
        if uid in {ALL, FILTERED}:
            keys = _filter(request) if uid == FILTERED else {}
            self._subscriptions.subscribe(title, uid, keys=keys)
        else:
            self._worklist.step(uid)  # it must be here
            self._subscriptions.subscribe(title, uid)
            self._subscriptions.report(title, state_report(self._worklist.step(uid)))
        place = base_of(request).replace("http", "ws", 1) + f"/ws/subscribers/{title}"
        return Response(status_code=201, headers={"Content-Location": place, "Location": place})

    async def unsubscribe(self, request: Request) -> Response:
        """Watch a work item, or any, no longer (PS3.18 11.11)."""
        title, uid = _title(request.path_params["subscriber"]), request.path_params["workitem"]
        await asyncio.to_thread(self._subscriptions.unsubscribe, title, uid)
        return Response(status_code=200)

    async def suspend(self, request: Request) -> Response:
        """Watch no work item that is created from now on (PS3.18 11.12)."""
        title, uid = _title(request.path_params["subscriber"]), request.path_params["workitem"]
        if uid not in {ALL, FILTERED}:
            msg = "only a subscription to all workitems can be suspended"
            raise InputError(msg)
        await asyncio.to_thread(self._subscriptions.suspend, title)
        return Response(status_code=200)

    async def channel(self, socket: WebSocket) -> None:
        """Give a subscriber its reports, as they come (PS3.18 11.13)."""
        try:
            admit(Request({**socket.scope, "type": "http", "method": "GET"}))
            _require_own_origin(socket)
            title = _title(socket.path_params["subscriber"])
        except (NotAuthorized, InputError) as error:
            await socket.close(_REFUSED, str(error))
            return
        await socket.accept()
        gone = asyncio.ensure_future(_until_gone(socket))
        try:
            while not gone.done():
                kept = await asyncio.to_thread(self._waiting, title)
                await self._give(socket, kept)
                await asyncio.wait([gone], timeout=_POLL_S if len(kept) < _AT_ONCE else 0)
        except WebSocketDisconnect:
            pass
        finally:
            gone.cancel()

    def _waiting(self, title: str) -> Sequence[Kept]:
        self._analyses.catch_up()
        return self._subscriptions.waiting(title, limit=_AT_ONCE)

    async def _give(self, socket: WebSocket, kept: Sequence[Kept]) -> None:
        for each in kept:
            await socket.send_text(json.dumps(each.content, ensure_ascii=False))
        if kept:
            numbers = [each.number for each in kept]
            await asyncio.to_thread(self._subscriptions.taken, numbers)


def _require_own_origin(socket: WebSocket) -> None:
    """Keep out web pages of other sites: browsers let them open channels anywhere."""
    if is_foreign(socket, browser=False):
        msg = "a page of another site may not open a channel"
        raise NotAuthorized(msg)


async def _until_gone(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def _title(text: str) -> str:
    try:
        return ae_title(text)
    except SetupError as error:
        raise InputError(str(error)) from error


def _filter(request: Request) -> dict[str, str]:
    """Return the keys of a filtered subscription: parameters, or pairs within `filter`."""
    given = request.query_params
    pairs = [pair for pair in given.multi_items() if pair[0] not in _NOT_KEYS]
    for text in given.getlist("filter"):
        names = (each.partition("=") for each in text.split(",") if each)
        pairs += [(name, value) for name, _, value in names]
    keys = dict(pairs_of(pairs))
    if not keys:
        msg = "there is nothing to match"
        raise InputError(msg)
    Keys(keys)
    return keys
