"""STOW-RS: storing instances (PS3.18 10.5).

Each part goes to disk as it arrives and then the way of every instance, `dicom_node.ingest`: what
is answered as stored is on stable storage. One instance at a time is in memory.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import IO

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from dicom_node.archive import Archive
from dicom_node.audit.auditor import Auditor
from dicom_node.audit.transfers import Transfer
from dicom_node.ingest import Ingest
from dicom_node.status import Status
from imaging.errors import InputError, WetreadError
from serving.audit_web import asking
from serving.current_user import current_user
from serving.dicomweb.accept import DICOM, DICOM_JSON, MULTIPART, media_type_of, require
from serving.dicomweb.bodies import base_of
from serving.dicomweb.offered import Offered, Outcome, store
from serving.dicomweb.parts_reader import PartBegins, PartBytes, PartsReader, Piece
from serving.sections import DicomwebSettings

_JSON = "application/json"
_GIGABYTE = 1 << 30
_WRITTEN_AT_ONCE = 1 << 20
_WITHOUT_HEAD = 4096


class Stow:
    """The store transaction into one archive."""

    def __init__(
        self, archive: Archive, ingest: Ingest, settings: DicomwebSettings, *, auditor: Auditor
    ) -> None:
        self._archive, self._ingest, self._settings = archive, ingest, settings
        self._auditor = auditor

    async def store(self, request: Request) -> Response:
        """Store the instances of a request, and say what became of each."""
        media_type = require(request, DICOM_JSON, _JSON)
        reader = PartsReader(_boundary(request))
        self._refuse_too_large(int(request.headers.get("content-length") or 0))
        await asyncio.to_thread(self._ingest.require_space)
        asked = _Asked(
            study_uid=request.path_params.get("study"),
            strict=_strict(request, otherwise=self._settings.strict),
            address=request.client.host if request.client else "",
            person=_person(request),
            transfer=Transfer(
                self._auditor, source=asking(request.scope), destination=self._auditor.process
            ),
        )
        try:
            outcomes = [outcome async for outcome in self._outcomes(request, reader, asked)]
        finally:
            asked.transfer.end()
        if not reader.ended or not outcomes:
            msg = "the body ends before its closing delimiter" if outcomes else "there is no part"
            raise InputError(msg)
        status, body = _answer(outcomes, base_of(request), asked.study_uid)
        return Response(json.dumps(body), status_code=status, media_type=media_type)

    async def _outcomes(
        self, request: Request, reader: PartsReader, asked: "_Asked"
    ) -> AsyncIterator[Outcome]:
        part: _Part | None = None
        try:
            async for piece in self._pieces(request, reader):
                if isinstance(piece, PartBegins):
                    part = _Part(piece.headers, self._archive.spool())
                    continue
                assert part is not None
                if isinstance(piece, PartBytes):
                    await part.write(piece.data, self._largest)
                    continue
                outcome = await asyncio.to_thread(self._stored, await part.whole(), asked)
                _count(outcome, asked.transfer)
                yield outcome
                part.close()
                part = None
        finally:
            if part is not None:
                part.close()

    async def _pieces(self, request: Request, reader: PartsReader) -> AsyncIterator[Piece]:
        size = 0
        try:
            async for data in request.stream():
                size += len(data)
                self._refuse_too_large(size)
                for piece in reader.feed(data):
                    yield piece
        except ClientDisconnect as error:
            raise HTTPException(400, "the client went away") from error

    @property
    def _largest(self) -> int:
        return int(self._settings.max_instance_gb * _GIGABYTE)

    def _refuse_too_large(self, size: int) -> None:
        if size > self._settings.max_request_gb * _GIGABYTE:
            limit = f"{self._settings.max_request_gb:g} GB"
            raise HTTPException(413, f"a request may have {limit}; send fewer instances in each")

    def _stored(self, part: "_Part", asked: "_Asked") -> Outcome:
        offered = Offered(
            part10=part.read(),
            headers=part.headers,
            study_uid=asked.study_uid,
            strict=asked.strict,
            address=asked.address,
            person=asked.person,
        )
        if part.too_large:
            limit = f"{self._settings.max_instance_gb:g} GB"
            return Outcome.failed(offered, Status.OUT_OF_RESOURCES, f"an instance may have {limit}")
        try:
            return store(self._ingest, offered)
        except WetreadError as error:
            return Outcome.refused(offered, error)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    study_uid: str | None
    strict: bool
    address: str
    person: str
    transfer: Transfer


@dataclass(slots=True)
class _Part:
    """One part on its way to disk."""

    headers: dict[str, str]
    file: IO[bytes]
    too_large: bool = False
    _waiting: list[bytes] = field(default_factory=list)
    _size: int = 0

    async def write(self, data: bytes, largest: int) -> None:
        self._size += len(data)
        if self._size > largest:
            self.too_large = True
            return
        self._waiting.append(data)
        if sum(map(len, self._waiting)) >= _WRITTEN_AT_ONCE:
            await self.whole()

    async def whole(self) -> "_Part":
        data, self._waiting = b"".join(self._waiting), []
        await asyncio.to_thread(self.file.write, data)
        return self

    def read(self) -> bytes:
        """Return the part, or of one that is too large no more than says what it is."""
        self.file.seek(0)
        return self.file.read(_WITHOUT_HEAD if self.too_large else -1)

    def close(self) -> None:
        self.file.close()


def _person(request: Request) -> str:
    """Return who is signed in; a key is no person, and a data set may name one."""
    user = current_user(request)
    return user.name if user.how == "session" else ""


def _count(outcome: Outcome, transfer: Transfer) -> None:
    if outcome.failure is not None:
        transfer.failed()
        return
    transfer.begin(outcome.study_uid)
    transfer.moved(outcome.study_uid, outcome.sop_class_uid, repeated=outcome.repeated)


def _boundary(request: Request) -> str:
    outer, parameters = media_type_of(request.headers.get("content-type", ""))
    inner = parameters.get("type", DICOM).lower()
    if outer != MULTIPART or inner != DICOM:
        raise HTTPException(415, f'only {MULTIPART}; type="{DICOM}" is taken')
    if not parameters.get("boundary"):
        msg = "the Content-Type has no boundary"
        raise InputError(msg)
    return parameters["boundary"]


def _strict(request: Request, *, otherwise: bool) -> bool:
    asked = request.query_params.get("strict", str(otherwise)).lower()
    if asked not in {"true", "false"}:
        msg = "strict must be true or false"
        raise InputError(msg)
    return asked == "true"


def _answer(
    outcomes: Sequence[Outcome], base: str, study_uid: str | None
) -> tuple[int, dict[str, object]]:
    """Return status and body (PS3.18 10.5.3)."""
    stored = [outcome for outcome in outcomes if outcome.failure is None]
    failed = [outcome for outcome in outcomes if outcome.failure is not None]
    studies = {outcome.study_uid for outcome in stored} | {study_uid} - {None}
    body: dict[str, object] = {}
    if len(studies) == 1:
        body["00081190"] = {"vr": "UR", "Value": [f"{base}/studies/{studies.pop()}"]}
    if failed:
        body["00081198"] = {"vr": "SQ", "Value": [outcome.to_json(base) for outcome in failed]}
    if stored:
        body["00081199"] = {"vr": "SQ", "Value": [outcome.to_json(base) for outcome in stored]}
    if not stored:
        full = all(outcome.failure == Status.OUT_OF_RESOURCES for outcome in failed)
        return 503 if full else 409, body
    return 202 if failed or any(outcome.warning for outcome in stored) else 200, body
