"""The web application: routes, health and the one table from errors to HTTP answers."""

from collections.abc import Callable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from dicom_node.archive import Archive
from dicom_node.index import Index
from imaging.errors import Conflict, InputError, NotFound, SetupError, WetreadError
from models.registry import Registry
from serving import api
from serving.health import Health
from serving.journal import Journal
from serving.metrics import exposition
from serving.operations import Operations
from serving.settings import WETREAD_VERSION
from serving.study_view import StudyViews

_STATUS: tuple[tuple[type[WetreadError], int, str], ...] = (
    (NotFound, 404, "Not Found"),
    (Conflict, 409, "Conflict"),
    (InputError, 400, "Bad Request"),
    (SetupError, 503, "Service Unavailable"),
    (WetreadError, 500, "Internal Server Error"),
)


def build(
    *,
    index: Index,
    archive: Archive,
    journal: Journal,
    operations: Operations,
    registry: Registry,
    health: Health,
) -> FastAPI:
    """Return the application on these parts."""
    app = FastAPI(
        title="Wetread",
        summary="AI results for the reading room",
        description="Findings are for research use only, unverified until a reader accepts them.",
        version=WETREAD_VERSION,
    )
    app.state.views = StudyViews(index, journal)
    app.state.journal, app.state.operations, app.state.registry = journal, operations, registry
    app.include_router(api.router)
    _add_health(
        app,
        health,
        lambda: exposition(index, archive, journal, certificates=health.certificates()),
    )
    app.add_exception_handler(WetreadError, _wetread_problem)
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(RequestValidationError, _validation_problem)
    app.add_exception_handler(Exception, _unexpected_problem)
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


def problem(status: int, title: str, detail: str) -> JSONResponse:
    """Return an error answer (RFC 9457)."""
    body = api.Problem(title=title, status=status, detail=detail).model_dump()
    return JSONResponse(body, status_code=status, media_type="application/problem+json")


def _wetread_problem(_: Request, error: Exception) -> JSONResponse:
    for kind, status, title in _STATUS:
        if isinstance(error, kind):
            return problem(status, title, str(error))
    raise error


def _http_problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, str(error.detail), str(error.detail))


def _validation_problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
    return problem(422, "Unprocessable Content", "; ".join(lines))


def _unexpected_problem(_: Request, error: Exception) -> JSONResponse:
    return problem(500, "Internal Server Error", f"unexpected {type(error).__name__}; see the log")
