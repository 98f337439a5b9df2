"""The one table from errors to HTTP answers: problem details (RFC 9457), never a traceback."""

from http import HTTPStatus

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request

from imaging.errors import (
    Conflict,
    InputError,
    NotAuthorized,
    NotFound,
    SetupError,
    StorageFull,
    WetreadError,
)

_STATUS: tuple[tuple[type[WetreadError], int, str], ...] = (
    (NotFound, 404, "Not Found"),
    (NotAuthorized, 403, "Forbidden"),
    (Conflict, 409, "Conflict"),
    (InputError, 400, "Bad Request"),
    (StorageFull, 503, "Service Unavailable"),
    (SetupError, 503, "Service Unavailable"),
    (WetreadError, 500, "Internal Server Error"),
)


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = "about:blank"
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["study 1.2.3 is not here"])


def answer_errors(app: Starlette) -> None:
    """Let an application answer every error with a problem."""
    app.add_exception_handler(WetreadError, _wetread_problem)
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(RequestValidationError, _validation_problem)
    app.add_exception_handler(Exception, _unexpected_problem)


def problem(status: int, title: str, detail: str) -> JSONResponse:
    """Return an error answer."""
    body = Problem(title=title, status=status, detail=detail).model_dump()
    return JSONResponse(body, status_code=status, media_type="application/problem+json")


def _wetread_problem(_: Request, error: Exception) -> JSONResponse:
    for kind, status, title in _STATUS:
        if isinstance(error, kind):
            return problem(status, title, str(error))
    raise error


def _http_problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    answer = problem(error.status_code, title, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


def _validation_problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
    return problem(422, "Unprocessable Content", "; ".join(lines))


def _unexpected_problem(_: Request, error: Exception) -> JSONResponse:
    return problem(500, "Internal Server Error", f"unexpected {type(error).__name__}; see the log")
