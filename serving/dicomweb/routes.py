"""DICOMweb as a web application of its own: which address does what (PS3.18 10)."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from dicom_node.changes import Changes
from dicom_node.documents import Documents
from dicom_node.searching import MATCHED, Searches
from serving.dicomweb.admission import admit
from serving.dicomweb.pictures import Pictures
from serving.dicomweb.qido import Qido
from serving.dicomweb.stow import Stow
from serving.dicomweb.ups import Ups
from serving.dicomweb.wado import Wado
from serving.dicomweb.watching import Watching
from serving.parts import Parts
from serving.problems import answer_errors

_Act = Callable[[Request], Awaitable[Response]]
_CHANNELS = ("/ws/subscribers/{subscriber}", "/subscribers/{subscriber}")
_STUDY = "/studies/{study}"
_SERIES = f"{_STUDY}/series/{{series}}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"


@dataclass(frozen=True, slots=True)
class Service:
    """One transaction: its name, method and address, and what answers."""

    name: str
    method: str
    path: str
    act: _Act


def build(parts: Parts) -> Starlette:
    """Return the application, to be mounted under ``/dicomweb``."""
    found = services(parts)
    routes: list[BaseRoute] = [
        Route(each.path, _admitted(each.act), methods=[each.method]) for each in found
    ]
    watching = Watching(parts.worklist, parts.analyses, parts.subscriptions)
    routes += [WebSocketRoute(path, watching.channel) for path in _CHANNELS]
    routes.append(Route("/", _admitted(_capabilities(found)), methods=["GET", "OPTIONS"]))
    app = Starlette(routes=routes)
    answer_errors(app)
    return app


def services(parts: Parts) -> tuple[Service, ...]:
    """Return every transaction."""
    index = parts.index
    changes = Changes(index.engine)
    documents = Documents(index, parts.archive, changes)
    qido = Qido(Searches(index.engine, index.tenant), documents, changes)
    wado = Wado(index, documents)
    pictures = Pictures(documents)
    stow = Stow(parts.archive, parts.ingest, parts.settings.dicomweb, auditor=parts.auditor)
    searches = (
        ("/studies", qido.studies),
        (f"{_STUDY}/series", qido.series),
        (f"{_STUDY}/instances", qido.instances),
        (f"{_SERIES}/instances", qido.instances),
        ("/series", qido.series),
        ("/instances", qido.instances),
    )
    retrievals = (
        (f"{_INSTANCE}/frames/{{frames}}", wado.frames),
        (f"{_SERIES}/metadata", wado.metadata),
        (_STUDY, wado.instances),
        (_SERIES, wado.instances),
        (_INSTANCE, wado.instances),
        (f"{_STUDY}/metadata", wado.metadata),
        (f"{_INSTANCE}/metadata", wado.metadata),
        (f"{_INSTANCE}/bulkdata/{{tag}}", wado.bulk),
    )
    shown = (_STUDY, _SERIES, _INSTANCE, f"{_INSTANCE}/frames/{{frames}}")
    rendered = [(f"{path}/rendered", pictures.rendered) for path in shown]
    thumbnails = [(f"{path}/thumbnail", pictures.thumbnail) for path in shown]
    stores = (("/studies", stow.store), (_STUDY, stow.store))
    return tuple(
        Service(name, method, path, act)
        for name, method, group in (
            ("QIDO-RS", "GET", searches),
            ("WADO-RS", "GET", (*retrievals, *rendered, *thumbnails)),
            ("STOW-RS", "POST", stores),
            *_worklist(parts),
        )
        for path, act in group
    )


def _worklist(parts: Parts) -> Iterator[tuple[str, str, Sequence[tuple[str, _Act]]]]:
    ups = Ups(parts.worklist, parts.analyses, parts.operations)
    one = "/workitems/{workitem}"
    reads = (("/workitems", ups.search), (one, ups.retrieve))
    writes = (
        ("/workitems", ups.create),
        (one, ups.update),
        (f"{one}/cancelrequest", ups.cancel),
        (f"{one}/cancelrequest/{{requester}}", ups.cancel),
    )
    watching = Watching(parts.worklist, parts.analyses, parts.subscriptions)
    watcher = f"{one}/subscribers/{{subscriber}}"
    watches = ((watcher, watching.subscribe), (f"{watcher}/suspend", watching.suspend))
    yield "UPS-RS", "GET", reads
    yield "UPS-RS", "POST", (*writes, *watches)
    yield "UPS-RS", "DELETE", ((watcher, watching.unsubscribe),)
    yield (
        "UPS-RS",
        "PUT",
        ((f"{one}/state", ups.change), (f"{one}/state/{{requester}}", ups.change)),
    )


def _admitted(act: _Act) -> _Act:
    async def admitted(request: Request) -> Response:
        admit(request)
        return await act(request)

    return admitted


def _capabilities(found: tuple[Service, ...]) -> _Act:
    """Say what there is, as JSON (PS3.18 8.9)."""
    told = {
        "services": [{"name": s.name, "method": s.method, "path": s.path} for s in found],
        "matching": list(MATCHED),
    }

    async def capabilities(_: Request) -> Response:
        return JSONResponse(told)

    return capabilities
