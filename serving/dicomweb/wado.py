"""WADO-RS: retrieving instances, metadata, frames and bulk data (PS3.18 10.4)."""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from starlette.requests import Request
from starlette.responses import Response

from dicom_node.documents import Documents, SeriesDocument
from dicom_node.index import Index
from dicom_node.records import StoredInstance
from dicom_node.web_instance import Pixels, WebInstance
from imaging.bits import cut
from imaging.dicom_json import Place
from imaging.errors import NotFound, PixelsUnreadable
from imaging.frame_places import without_item_heads
from imaging.transcode import plain_frames, plain_instance
from serving.dicomweb.accept import DICOM, DICOM_JSON, OCTETS, accepted, require
from serving.dicomweb.bodies import (
    Label,
    Part,
    answer,
    base_of,
    file_part,
    made_part,
    read_now,
    ready_part,
)
from serving.dicomweb.frame_list import frame_numbers
from serving.dicomweb.negotiate import Form, bulk_as, frames_as, instances_as, is_plain

_JSON = "application/json"
_LITTLE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
_BYTE = 8
_NUMBER = re.compile("[1-9][0-9]{0,8}")
_PDF, _PIXELS = "00420011", ("7FE00008", "7FE00009", "7FE00010")


class Wado:
    """The retrieve transactions on one archive."""

    def __init__(self, index: Index, documents: Documents) -> None:
        self._index, self._documents = index, documents

    # Instances

    async def instances(self, request: Request) -> Response:
        """Return the instances of a study or series, or one, as Part 10 files."""
        return await asyncio.to_thread(self._instances, request)

    def _instances(self, request: Request) -> Response:
        rows, path = self._rows(request), request.path_params
        one = "instance" in path
        form = instances_as(accepted(request), (r.transfer_syntax_uid for r in rows), one=one)
        base = base_of(request)
        parts = [self._instance(row, form, base) for row in rows]
        return answer(parts, inner=DICOM, multipart=form.multipart)

    def _rows(self, request: Request) -> Sequence[StoredInstance]:
        path = request.path_params
        rows = self._index.instances_of(path["study"], path.get("series"))
        if "instance" in path:
            rows = tuple(row for row in rows if row.instance_uid == path["instance"])
        if not rows:
            level = next(level for level in ("instance", "series", "study") if level in path)
            msg = f"{level} {path[level]} is not here"
            raise NotFound(msg)
        return rows

    def _instance(self, row: StoredInstance, form: Form, base: str) -> Part:
        file = self._documents.file(row.path)
        location = f"{base}/studies/{row.study_uid}/series/{row.series_uid}"
        location += f"/instances/{row.instance_uid}"
        syntax = row.transfer_syntax_uid
        if not is_plain(form, syntax) or syntax == ExplicitVRLittleEndian:
            return file_part(file, _label(DICOM, syntax, location))
        label = _label(DICOM, ExplicitVRLittleEndian, location)
        return made_part(partial(plain_instance, file), label)

    # Metadata

    async def metadata(self, request: Request) -> Response:
        """Return the metadata of a study, a series or an instance."""
        media_type = require(request, DICOM_JSON, _JSON)
        documents = self._at_once(request.path_params)
        if documents is None:
            documents = await asyncio.to_thread(self._metadata, request.path_params)
        tag = _entity_tag(documents)
        headers = {"Cache-Control": "private, no-cache", "ETag": tag, "Vary": "Accept-Encoding"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        instance = request.path_params.get("instance")
        if len(documents) == 1 and instance is None and _takes_gzip(request):
            headers["Content-Encoding"] = "gzip"
            return Response(documents[0].gzipped, media_type=media_type, headers=headers)
        body = await asyncio.to_thread(self._joined, documents, instance)
        return Response(body, media_type=media_type, headers=headers)

    def _at_once(self, path: dict[str, str]) -> Sequence[SeriesDocument] | None:
        if "series" not in path or "instance" in path:
            return None
        found = self._documents.at_once(path["study"], path["series"])
        return None if found is None else [found]

    def _joined(self, documents: Sequence[SeriesDocument], instance: str | None) -> bytes:
        if instance is not None:
            return documents[0].of(instance)
        if len(documents) == 1:
            return self._documents.plain(documents[0])
        return b"[" + b",".join(document.plain()[1:-1] for document in documents) + b"]"

    def _metadata(self, path: dict[str, str]) -> Sequence[SeriesDocument]:
        if "series" not in path:
            return self._documents.of_study(path["study"])
        document = self._documents.of_series(path["study"], path["series"])
        if "instance" in path and path["instance"] not in document.instances:
            msg = f"instance {path['instance']} is not here"
            raise NotFound(msg)
        return [document]

    # Frames and bulk data

    async def frames(self, request: Request) -> Response:
        """Return frames of an instance, in the order in which they are named."""
        found = self._in_memory(request)
        return found if found is not None else await asyncio.to_thread(self._frames, request)

    def _in_memory(self, request: Request) -> Response | None:
        """Return one frame that the system has in memory, without a thread: the usual case."""
        instance = self._documents.known(*_uids(request))
        text = request.path_params["frames"]
        if instance is None or instance.pixels is None or not text.isdecimal():
            return None
        frames, syntax = instance.pixels.frames, instance.transfer_syntax_uid
        if (
            instance.pixels.encapsulated
            or syntax not in _LITTLE
            or not 0 < int(text) <= len(frames)
        ):
            return None
        data = read_now(self._documents.file(instance.path), frames[int(text) - 1])
        if data is None:
            return None
        form = frames_as(accepted(request), syntax, one=True)
        label = _label(form.media_type, syntax, str(request.url.replace(query="")))
        return answer([ready_part(data, label)], inner=form.media_type, multipart=form.multipart)

    def _frames(self, request: Request) -> Response:
        instance = self._documents.instance(*_uids(request))
        pixels = _pixels_of(instance)
        numbers = frame_numbers(request.path_params["frames"], pixels.count)
        syntax = instance.transfer_syntax_uid
        form = frames_as(accepted(request), syntax, one=len(numbers) == 1)
        decoded = not pixels.in_file or (is_plain(form, syntax) and syntax not in _LITTLE)
        given = ExplicitVRLittleEndian if decoded else syntax
        label = _label(form.media_type, given, str(request.url.replace(query="")))
        file = self._documents.file(instance.path)
        if decoded:
            parts = _decoded(file, numbers, label)
        else:
            parts = [_frame(file, pixels, number, label=label) for number in numbers]
        return answer(parts, inner=form.media_type, multipart=form.multipart)

    async def bulk(self, request: Request) -> Response:
        """Return a binary value by its address in the metadata."""
        return await asyncio.to_thread(self._bulk, request)

    def _bulk(self, request: Request) -> Response:
        instance, tag = (
            self._documents.instance(*_uids(request)),
            request.path_params["tag"].upper(),
        )
        place = instance.bulk.get(tag)
        if place is None:
            msg = f"{tag} is not a bulk value of this instance"
            raise NotFound(msg)
        own = "application/pdf" if tag == _PDF else OCTETS
        form = bulk_as(accepted(request), own)
        label = Label(media_type=form.media_type, location=str(request.url))
        if tag in _PIXELS:
            label = _label(form.media_type, instance.transfer_syntax_uid, str(request.url))
        part = file_part(self._documents.file(instance.path), label, place)
        return answer([part], inner=form.media_type, multipart=form.multipart)


def _uids(request: Request) -> tuple[str, str, str]:
    path = request.path_params
    return path["study"], path["series"], path["instance"]


def _pixels_of(instance: WebInstance) -> Pixels:
    pixels = instance.pixels
    if pixels is None:
        msg = "the instance has no frames"
        raise NotFound(msg)
    if pixels.problem:
        raise PixelsUnreadable(pixels.problem)
    return pixels


def _decoded(file: Path, numbers: Sequence[int], label: Label) -> Sequence[Part]:
    """Decode the first frame before the answer begins, so that it can still fail."""
    frames = plain_frames(file, [number - 1 for number in numbers])
    first = ready_part(next(frames), label)
    return [first, *(made_part(partial(next, frames), label) for _ in numbers[1:])]


def _frame(file: Path, pixels: Pixels, number: int, *, label: Label) -> Part:
    if pixels.frames and not pixels.encapsulated:
        return file_part(file, label, pixels.frames[number - 1])
    data = _codestream(file, pixels, number) if pixels.encapsulated else _bits(file, pixels, number)
    return ready_part(data, label)


def _label(media_type: str, transfer_syntax: str, location: str) -> Label:
    return Label(media_type=f"{media_type}; transfer-syntax={transfer_syntax}", location=location)


def _read(file: Path, place: Place) -> bytes:
    return b"".join(file_part(file, Label(media_type=OCTETS, location=""), place).pieces())


def _codestream(file: Path, pixels: Pixels, number: int) -> bytes:
    return without_item_heads(_read(file, pixels.frames[number - 1]))


def _bits(file: Path, pixels: Pixels, number: int) -> bytes:
    """Return a frame that begins within a byte."""
    start = (number - 1) * pixels.bits
    first, last = start // _BYTE, (start + pixels.bits - 1) // _BYTE
    place = Place(offset=pixels.at + first, length=last - first + 1)
    return cut(_read(file, place), start % _BYTE, pixels.bits)


def _entity_tag(documents: Sequence[SeriesDocument]) -> str:
    told = "\n".join(f"{document.series_uid} {document.version}" for document in documents)
    return f'"{hashlib.sha256(told.encode()).hexdigest()[:32]}"'


def _takes_gzip(request: Request) -> bool:
    return "gzip" in request.headers.get("accept-encoding", "")
