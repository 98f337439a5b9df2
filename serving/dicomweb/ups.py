"""UPS-RS: the worklist (PS3.18 11)."""

import asyncio
import json
from collections.abc import Sequence
from itertools import islice

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from imaging.dicom_json import JsonDataset
from imaging.errors import Conflict, InputError, NotFound
from imaging.identity import is_uid
from serving.dicomweb.accept import DICOM_JSON, media_type_of, require
from serving.dicomweb.bodies import base_of
from serving.dicomweb.query import MOST, keys_of, path_of, whole
from serving.operations import Operations
from serving.ups import rules
from serving.ups.analyses import Analyses, new_uid
from serving.ups.dataset import first, parsed
from serving.ups.matching import Keys
from serving.ups.states import (
    ACCEPTED,
    DONE,
    ENDED,
    OURS,
    UNHEARD,
    UNMET,
    Ruling,
    State,
    cancel,
    change,
    key_of,
    update,
)
from serving.ups.step import Step
from serving.ups.worklist import Worklist

_JSON = "application/json"
_LARGEST = 1 << 20
_TRANSACTION = "00081195"
_MORE = "There are additional results that can be requested"


class Ups:
    """The transactions on one worklist."""

    def __init__(self, worklist: Worklist, analyses: Analyses, operations: Operations) -> None:
        self._worklist, self._analyses, self._operations = worklist, analyses, operations

    async def create(self, request: Request) -> Response:
        """Create a workitem (PS3.18 11.4)."""
        uid = _uid(next(iter(request.query_params.keys()), "") or new_uid())
        body = await _body(request)
        return await asyncio.to_thread(self._create, request, uid, body)

    def _create(self, request: Request, uid: str, body: JsonDataset) -> Response:
        now = self._worklist.clock()
        content, added = rules.created(body, uid, now)
        self._worklist.create(Step(ups_uid=uid, content=content, pushed=True, created_at=now))
        place = f"{base_of(request)}/workitems/{uid}"
        headers = {"Location": place, "Content-Location": place}
        if added:
            headers["Warning"] = _warning(request, "The Workitem was created with modifications.")
        return Response(status_code=201, headers=headers)

    async def retrieve(self, request: Request) -> Response:
        """Retrieve a workitem (PS3.18 11.5)."""
        media_type = require(request, DICOM_JSON, _JSON)
        step = await asyncio.to_thread(self._current, request)
        content = await asyncio.to_thread(self._analyses.input_of, step)
        return _datasets([content], media_type)

    async def search(self, request: Request) -> Response:
        """Search for workitems (PS3.18 11.9)."""
        media_type = require(request, DICOM_JSON, _JSON)
        given = request.query_params
        for field in given.getlist("includefield"):
            [path_of(name) for name in field.split(",") if name not in {"", "all"}]
        keys = Keys(dict(keys_of(request)))
        offset = whole(given.get("offset"), "offset", otherwise=0)
        limit = min(whole(given.get("limit"), "limit", otherwise=MOST), MOST)
        found = await asyncio.to_thread(self._found, keys, offset, limit + 1)
        answer = _datasets([step.content for step in found[:limit]], media_type)
        if len(found) > limit:
            answer.headers["Warning"] = _warning(request, _MORE)
        return answer

    def _found(self, keys: Keys, offset: int, limit: int) -> Sequence[Step]:
        self._analyses.catch_up()
        fitting = (step for step in self._worklist.find(keys.narrowed) if keys.fit(step))
        return list(islice(fitting, offset, offset + limit))

    async def update(self, request: Request) -> Response:
        """Set attributes of a workitem (PS3.18 11.6)."""
        given = next(iter(request.query_params.keys()), "")
        given = request.query_params.get("transaction-uid", given)
        body = await _body(request)
        return await asyncio.to_thread(self._update, request, given, body)

    def _update(self, request: Request, given: str, body: JsonDataset) -> Response:
        step = self._current(request)
        given = given or first(body, _TRANSACTION)
        with self._worklist.changing(step.ups_uid) as changing:
            step = changing.after
            ruling = update(step.state, key_of(step.transaction_uid, given, step.state))
            if ruling is DONE and not step.pushed:
                ruling = OURS
            if ruling is DONE:
                content = rules.updated(step.content, body, self._worklist.clock())
                changing.set(content=content)
        return _ruled(request, ruling)

    async def change(self, request: Request) -> Response:
        """Change the state of a workitem (PS3.18 11.7)."""
        body = await _body(request)
        return await asyncio.to_thread(self._change, request, body)

    def _change(self, request: Request, body: JsonDataset) -> Response:
        try:
            wanted = State(first(body, rules.STATE))
        except ValueError as error:
            msg = f"Procedure Step State must be {' or '.join(State)}"
            raise InputError(msg) from error
        step, given = self._current(request), first(body, _TRANSACTION)
        with self._worklist.changing(step.ups_uid) as changing:
            step = changing.after
            ruling = change(step.state, wanted, key_of(step.transaction_uid, given, step.state))
            if ruling is DONE and not step.pushed:
                ruling = OURS
            lacking = rules.unmet(step.content, wanted)
            if ruling is DONE and lacking:
                return _ruled(request, UNMET, f"{', '.join(lacking)}: needed at the end")
            if ruling is DONE:
                now = self._worklist.clock()
                changing.set(
                    state=wanted,
                    transaction_uid=given,
                    content=rules.stamped(step.content, now),
                    ended_at=now if wanted.final else None,
                )
        return _ruled(request, ruling)

    async def cancel(self, request: Request) -> Response:
        """Ask for a workitem to be canceled (PS3.18 11.8)."""
        body = await _body(request, empty=True)
        return await asyncio.to_thread(self._cancel, request, body)

    def _cancel(self, request: Request, body: JsonDataset) -> Response:
        step = self._current(request)
        ruling = cancel(step.state)
        if ruling is not ACCEPTED:
            return _ruled(request, ruling)
        if step.workitem_uid is not None:
            return self._stop(request, step.workitem_uid)
        if step.state is State.IN_PROGRESS:
            requester = request.path_params.get("requester", "")
            heard = self._worklist.ask_to_cancel(step.ups_uid, body, requester)
            return _ruled(request, ACCEPTED if heard else UNHEARD)
        with self._worklist.changing(step.ups_uid) as changing:
            step = changing.after
            if step.state is not State.SCHEDULED:  # somebody was faster
                return _ruled(request, cancel(step.state))
            now = self._worklist.clock()
            content = rules.canceled(step.content, body, now)
            changing.set(state=State.CANCELED, content=content, ended_at=now)
        return _ruled(request, ACCEPTED)

    def _stop(self, request: Request, workitem_uid: str) -> Response:
        """Stop an analysis of ours that waits or runs."""
        try:
            self._operations.cancel(workitem_uid)
        except Conflict:
            self._analyses.catch_up()
            return _ruled(request, ENDED)
        except NotFound:  # claimed, and about to be started
            return _ruled(request, UNHEARD)
        self._analyses.catch_up()
        return _ruled(request, ACCEPTED)

    def _current(self, request: Request) -> Step:
        self._analyses.catch_up()
        return self._worklist.step(_uid(request.path_params["workitem"]))


async def _body(request: Request, *, empty: bool = False) -> JsonDataset:
    """Return the data set of a request."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _LARGEST:
            raise HTTPException(413, "a workitem may have 1 MiB")
    if empty and not body:
        return {}
    kind, _ = media_type_of(request.headers.get("content-type", ""))
    if kind not in {DICOM_JSON, _JSON}:
        raise HTTPException(415, f"only {DICOM_JSON} is taken")
    return parsed(bytes(body))


def _uid(text: str) -> str:
    if not is_uid(text):
        msg = f"{text[:64]!r} is not a UID"
        raise InputError(msg)
    return text


def _datasets(found: Sequence[JsonDataset], media_type: str) -> Response:
    text = json.dumps(found, separators=(",", ":"), ensure_ascii=False)
    headers = {"Cache-Control": "no-store"}
    return Response(text.encode("utf-8", "replace"), media_type=media_type, headers=headers)


def _warning(request: Request, text: str) -> str:
    return f'299 {request.url.netloc}: "{text}"'


def _ruled(request: Request, ruling: Ruling, detail: str = "") -> Response:
    headers = {"Warning": _warning(request, ruling.warning)} if ruling.warning else {}
    if ruling.refused:
        raise HTTPException(ruling.http, detail or ruling.warning, headers)
    return Response(status_code=ruling.http, headers=headers)
