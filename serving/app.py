"""The web application: pages, REST, health and figures."""

from collections.abc import Callable

from fastapi import FastAPI
from fastapi.responses import Response

from serving import api, api_assessments, api_downloads, api_models, api_notifications
from serving.health import Health
from serving.metrics import exposition
from serving.parts import Parts
from serving.people.brake import Brake
from serving.people.desk import Desk
from serving.people.provider import Provider
from serving.problems import answer_errors
from serving.room import notifications, pages, sign_in, single_sign_on, versions
from serving.settings import WETREAD_VERSION
from serving.study_view import StudyViews


def build(parts: Parts) -> FastAPI:
    """Return the application on these parts."""
    index, archive, journal = parts.index, parts.archive, parts.journal
    registry, health = parts.registry, Health(parts.settings, index, archive)
    app = FastAPI(
        title="Wetread",
        summary="AI results for the reading room",
        description="Findings are for research use only, unverified until a reader accepts them.",
        version=WETREAD_VERSION,
    )
    app.state.views = StudyViews(index, journal)
    app.state.index, app.state.archive = index, archive
    app.state.journal, app.state.registry = journal, registry
    app.state.operations, app.state.messages = parts.operations, parts.messages
    app.state.targets = parts.settings.notify
    app.state.assessments, app.state.saved = parts.assessments, parts.saved
    app.state.shadow_readings, app.state.gates = (
        parts.shadow_readings,
        parts.settings.promotion.gate,
    )
    app.state.watch = parts.watch
    app.state.people, app.state.brake, app.state.desk = parts.people, Brake(), Desk()
    sign_in_rules = parts.settings.sign_in
    app.state.provider = Provider(sign_in_rules) if sign_in_rules.on else None
    app.state.room = pages.furnished(
        index=index,
        archive=archive,
        journal=journal,
        registry=registry,
        assessments=app.state.assessments,
        saved=app.state.saved,
    )
    app.include_router(api.router)
    app.include_router(api_assessments.router)
    app.include_router(api_downloads.router)
    app.include_router(api_models.router)
    app.include_router(api_notifications.router)
    app.include_router(pages.router)
    app.include_router(versions.router)
    app.include_router(notifications.router)
    app.include_router(sign_in.router)
    app.include_router(single_sign_on.router)
    app.mount("/static", pages.static_files(), name="static")
    _add_health(
        app,
        health,
        lambda: exposition(
            index, archive, journal, certificates=health.certificates(), places=parts.watch.places
        ),
    )
    answer_errors(app)
    return app


def _add_health(app: FastAPI, health: Health, figures: Callable[[], bytes]) -> None:
    @app.get("/healthz", tags=["health"])
    def healthz() -> dict[str, str]:
        """Answer while the web process lives."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"], responses={503: {"description": "a part is not ready"}})
    def readyz(response: Response) -> dict[str, str]:
        """Say whether studies can be received and analysed: each part and its problem or ok."""
        parts = health.parts()
        response.status_code = 200 if set(parts.values()) == {"ok"} else 503
        return parts

    @app.get("/metrics", tags=["health"], response_class=Response)
    def metrics() -> Response:
        """Return Prometheus figures."""
        return Response(figures(), media_type="text/plain; version=0.0.4; charset=utf-8")
