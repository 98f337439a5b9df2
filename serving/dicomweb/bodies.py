"""Bodies of answers: bytes of files, alone or in parts (RFC 2046 5.1), read ahead in a thread.

No more than two batches are in memory, however large the body is.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from dicom_node.web_instance import ROOT
from imaging.dicom_json import Place
from imaging.errors import NotFound

Bytes = bytes | bytearray
_BATCH = 1 << 20
_AT_ONCE = 4 << 20  # what is smaller is read before the answer begins, so that it can still fail
_IMMUTABLE = "private, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What a body is, and the address that gives it alone."""

    media_type: str
    location: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One body; `size` is ``None`` where it is known only when it has been made."""

    label: Label
    size: int | None
    pieces: Callable[[], Iterator[Bytes]]


def file_part(path: Path, label: Label, place: Place | None = None) -> Part:
    """Return bytes of a file, or all of it.

    Raises
    ------
    NotFound
        It is not there any more.
    """
    try:
        place = place or Place(offset=0, length=path.stat().st_size)
    except FileNotFoundError as error:
        raise _gone(path) from error
    where = place

    def pieces() -> Iterator[Bytes]:
        descriptor = opened(path)
        try:
            for at in range(0, where.length, _BATCH):
                length = min(_BATCH, where.length - at)
                piece = os.pread(descriptor, length, where.offset + at)
                if len(piece) < length:
                    msg = f"the file {path.name} has become shorter"
                    raise OSError(msg)
                yield piece
        finally:
            os.close(descriptor)

    return Part(label=label, size=place.length, pieces=pieces)


def made_part(make: Callable[[], bytes], label: Label) -> Part:
    """Return bytes that are made when it is their turn."""

    def pieces() -> Iterator[Bytes]:
        yield make()

    return Part(label=label, size=None, pieces=pieces)


def ready_part(data: Bytes, label: Label) -> Part:
    """Return bytes that are here."""
    return Part(label=label, size=len(data), pieces=lambda: iter((data,)))


def read_now(path: Path, place: Place) -> Bytes | None:
    """Return bytes of a file if the system has them in memory, without waiting for the disk."""
    if place.length > _AT_ONCE:
        return None
    data = bytearray(place.length)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        count = os.preadv(descriptor, [data], place.offset, os.RWF_NOWAIT)
    except OSError:  # not in memory, or a file system that cannot tell
        return None
    finally:
        os.close(descriptor)
    return data if count == place.length else None


def opened(path: Path) -> int:
    """Return the descriptor of a file; `NotFound` when it is not there any more."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise _gone(path) from error


def _gone(path: Path) -> NotFound:
    return NotFound(f"{path.name} is not here any more")


def base_of(request: Request) -> str:
    """Return the address under which the client sees DICOMweb."""
    return f"{request.url.scheme}://{request.url.netloc}{ROOT}"


def answer(parts: Sequence[Part], *, inner: str, multipart: bool) -> Response:
    """Return an answer of these parts, or of the only one by itself; reads what is small."""
    if not multipart:
        (part,) = parts
        return _response(part.pieces(), part.label.media_type, part.size)
    boundary = secrets.token_hex(16)
    heads = [_head(part, boundary) for part in parts]
    end = f"\r\n--{boundary}--\r\n".encode()
    sizes = [part.size for part in parts]
    size = sum(map(len, heads)) + len(end) + sum(s for s in sizes if s is not None)
    media_type = f'multipart/related; type="{inner}"; boundary={boundary}'
    pieces = _in_parts(parts, heads, end)
    return _response(pieces, media_type, None if None in sizes else size)


def _head(part: Part, boundary: str) -> bytes:
    lines = [f"\r\n--{boundary}", f"Content-Type: {part.label.media_type}"]
    if part.size is not None:
        lines.append(f"Content-Length: {part.size}")
    lines.append(f"Content-Location: {part.label.location}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii", "replace")


def _in_parts(parts: Sequence[Part], heads: Sequence[bytes], end: bytes) -> Iterator[Bytes]:
    for part, head in zip(parts, heads, strict=True):
        yield head
        yield from part.pieces()
    yield end


def _batches(pieces: Iterator[Bytes]) -> Iterator[list[Bytes]]:
    batch: list[Bytes] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _response(pieces: Iterator[Bytes], media_type: str, size: int | None) -> Response:
    headers = {"Cache-Control": _IMMUTABLE, "Content-Type": media_type}
    if size is not None:
        headers["Content-Length"] = str(size)
    if size is not None and size <= _AT_ONCE:
        return _Whole(tuple(pieces), headers)
    return StreamingResponse(_ahead(_batches(pieces)), headers=headers)


class _Whole(Response):
    """An answer that is in memory; its pieces are sent one by one rather than copied together."""

    def __init__(self, pieces: Sequence[Bytes], headers: Mapping[str, str]) -> None:
        super().__init__(headers=headers)
        self._pieces = pieces

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _ahead(batches: Iterator[list[Bytes]]) -> AsyncIterator[memoryview]:
    """Yield pieces while the next batch is read."""

    def following() -> list[Bytes] | None:
        return next(batches, None)

    coming = asyncio.ensure_future(asyncio.to_thread(following))
    try:
        while (batch := await coming) is not None:
            coming = asyncio.ensure_future(asyncio.to_thread(following))
            for piece in batch:
                yield memoryview(piece)
    finally:
        await asyncio.wait([coming])
