"""WADO-RS rendered resources and thumbnails (PS3.18 10.4.1.1.3 and 10.4.1.1.4)."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dicom_node.documents import Documents
from dicom_node.web_instance import WebInstance
from imaging.errors import NotFound
from imaging.rendered import Look, Viewport, encoded, look_of, rendered
from serving.dicomweb.accept import accepted, not_acceptable
from serving.dicomweb.bodies import Label, answer, made_part, ready_part
from serving.dicomweb.frame_list import frame_numbers

_JPEG, _PNG = "image/jpeg", "image/png"
_THUMBNAIL = Viewport(width=256, height=256)
_MOST = 1000  # pictures in one answer


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """One frame, counted from 0, of one file."""

    file: Path
    frame: int

    def drawn(self, media_type: str, look: Look) -> bytes:
        return encoded(rendered(self.file, self.frame, look), media_type, look)


class Pictures:
    """The retrieve transactions that give pictures."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def rendered(self, request: Request) -> Response:
        """Return frames, an instance, or every image of a series or study as pictures."""
        return await asyncio.to_thread(self._rendered, request)

    async def thumbnail(self, request: Request) -> Response:
        """Return one small picture that stands for a frame, instance, series or study."""
        return await asyncio.to_thread(self._thumbnail, request)

    def _rendered(self, request: Request) -> Response:
        media_type, look = _media_type(request), _look(request)
        pictures = self._wanted(request)
        path = request.path_params
        label = Label(media_type=media_type, location=str(request.url.replace(query="")))
        first = ready_part(pictures[0].drawn(media_type, look), label)  # so that it can still fail
        others = [made_part(partial(p.drawn, media_type, look), label) for p in pictures[1:]]
        multipart = "instance" not in path or len(pictures) > 1
        return answer([first, *others], inner=media_type, multipart=multipart)

    def _thumbnail(self, request: Request) -> Response:
        media_type, look = _media_type(request), _look(request)
        look = look if look.viewport else replace(look, viewport=_THUMBNAIL)
        pictures = self._wanted(request, middle=True)
        body = pictures[len(pictures) // 2].drawn(media_type, look)
        label = Label(media_type=media_type, location=str(request.url.replace(query="")))
        return answer([ready_part(body, label)], inner=media_type, multipart=False)

    def _wanted(self, request: Request, *, middle: bool = False) -> Sequence[_Picture]:
        """Return which pictures are asked for; `middle`: those of the first series will do."""
        path = request.path_params
        if "instance" not in path:
            return self._all(path, first_only=middle)
        instance = self._documents.instance(path["study"], path["series"], path["instance"])
        count = instance.pixels.count if instance.pixels else 0
        if "frames" in path:
            numbers = frame_numbers(path["frames"], count)
        elif middle or count <= 1:
            numbers = list(range(1, count + 1))
        else:
            msg = f"the instance has {count} frames; ask for frames/1,2,.../rendered"
            raise HTTPException(406, msg)
        file = self._documents.file(instance.path)
        return _some([_Picture(file=file, frame=number - 1) for number in numbers])

    def _all(self, path: dict[str, str], *, first_only: bool) -> Sequence[_Picture]:
        if "series" in path:
            documents = [self._documents.of_series(path["study"], path["series"])]
        else:
            documents = list(self._documents.of_study(path["study"]))
        found: list[_Picture] = []
        for document in documents:
            for instance in document.instances.values():
                found += self._frames(instance)
            if found and first_only:
                break
        if len(found) > _MOST and not first_only:
            msg = f"these are {len(found)} pictures; at most {_MOST} are given at once"
            raise HTTPException(413, msg)
        return _some(found)

    def _frames(self, instance: WebInstance) -> Iterator[_Picture]:
        file = self._documents.file(instance.path)
        for number in range(instance.pixels.count if instance.pixels else 0):
            yield _Picture(file=file, frame=number)


def _some(pictures: Sequence[_Picture]) -> Sequence[_Picture]:
    if not pictures:
        msg = "there is no image"
        raise NotFound(msg)
    return pictures


def _media_type(request: Request) -> str:
    for each in accepted(request):
        for media_type in (_JPEG, _PNG):
            if each.takes(media_type):
                return media_type
    raise not_acceptable([_JPEG, _PNG])


def _look(request: Request) -> Look:
    given = request.query_params
    return look_of(given.get("window"), given.get("viewport"), given.get("quality"))
