"""The pages for those who look after models: versions, history, and what a shadow showed."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from imaging.errors import NotFound
from models.stages import Stage
from serving.monitoring.watch import Watch
from serving.room import plots
from serving.room.pages import RoomDep, html
from serving.shadow.readings import ShadowReadings
from serving.shadow.versions import comparisons

DIGEST_SHOWN = 12
router = APIRouter(include_in_schema=False)


def _readings(request: Request) -> ShadowReadings:
    readings: ShadowReadings = request.app.state.shadow_readings
    return readings


def _watch(request: Request) -> Watch:
    watch: Watch = request.app.state.watch
    return watch


WatchDep = Annotated[Watch, Depends(_watch)]
ReadingsDep = Annotated[ShadowReadings, Depends(_readings)]


@router.get("/models")
def models(request: Request, room: RoomDep) -> Response:
    """Show every installed model and its versions."""
    found = {name: room.registry.versions(name) for name in room.registry.names()}
    return html(request, room, "models.html", models=found, shown=DIGEST_SHOWN)


@router.get("/models/{name}/versions")
def versions(
    request: Request, room: RoomDep, name: str, *, readings: ReadingsDep, watch: WatchDep
) -> Response:
    """Show the versions of a model, who changed them, and how shadows agree with what is served."""
    try:
        installed = room.registry.versions(name)
    except NotFound:
        return html(request, room, "missing.html", status=404)
    return html(
        request,
        room,
        "versions.html",
        name=name,
        versions=installed,
        stages=Stage,
        changes=[
            (datetime.fromtimestamp(change.at, UTC).strftime("%Y-%m-%d %H:%M:%SZ"), change)
            for change in reversed(room.registry.history(name))
        ],
        places=watch.of(name),
        comparisons=comparisons(room.registry, readings, name),
        numbers={each.digest: each.version for each in installed},
        plots=plots,
        shown=DIGEST_SHOWN,
    )
