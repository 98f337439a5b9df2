"""What each role may: every address by the role it needs; what is not here needs an administrator.

A test holds this against the routes that there are.
"""

from collections.abc import Iterator
from functools import cache
from re import Pattern
from typing import Literal, get_args

from starlette.routing import compile_path

from serving.people.person import Role

Need = Role | Literal["nobody"]

_PLACES: dict[Need, str] = {
    "nobody": """
        GET /healthz
        GET /static/{rest:path}
        GET /language/{language}
        GET /sign-in
        POST /sign-in
        GET /sign-in/there
        GET /sign-in/back
        POST /sign-out/back-channel
    """,
    "reader": """
        POST /sign-out
        GET /
        GET /studies/{rest:path}
        GET /models/{name}
        GET /api/studies
        GET /api/studies/{study}
        GET /api/studies/{study}/assessments
        POST /api/studies/{study}/assessments
        POST /api/studies/{study}/assessments/{action}/undo
        GET /api/studies/{study}/fhir
        GET /api/studies/{study}/report.pdf
        GET /api/studies/{study}/assessments/saved
        GET /api/studies/{study}/results/{instance}
        GET /api/models
        GET /api/workitems
        GET /api/workitems/{workitem}
        GET /api/deliveries
        GET /api/events
        GET /readyz
        GET /metrics
        GET /docs
        GET /docs/oauth2-redirect
        GET /redoc
        GET /openapi.json
        GET /viewer
        GET /viewer/{rest:path}
        GET /dicomweb
        GET /dicomweb/{rest:path}
        OPTIONS /dicomweb/{rest:path}
        POST /dicomweb/studies
        POST /dicomweb/studies/{study}
    """,
    "engineer": """
        GET /models
        GET /models/{name}/versions
        GET /api/models/{name}/versions
        GET /api/models/{name}/history
        GET /api/models/{name}/comparison
        GET /api/models/{name}/monitoring
        POST /api/models/{name}/shadow
        POST /api/studies/{study}/reanalyse
        PATCH /api/workitems/{workitem}
        POST /api/workitems/{workitem}/cancel
        POST /api/workitems/{workitem}/retry
        POST /api/deliveries/retry
        POST /dicomweb/workitems
        POST /dicomweb/workitems/{rest:path}
        PUT /dicomweb/workitems/{rest:path}
        DELETE /dicomweb/workitems/{rest:path}
    """,
    "administrator": """
        POST /api/models/{name}/promote
        POST /api/models/{name}/rollback
        POST /api/models/{name}/retire
        GET /notifications
        GET /api/notifications
        POST /api/notifications/retry
        POST /api/notifications/{notification}/cancel
    """,
}


def stated(method: str, path: str) -> Need | None:
    """Return what an address needs, or None where nothing is stated."""
    asked = "GET" if method == "HEAD" else method
    return next((need for m, place, need in _table() if m == asked and place.match(path)), None)


def needed(method: str, path: str) -> Need:
    """Return what an address needs."""
    return stated(method, path) or "administrator"


def may(role: Role, need: Need) -> bool:
    """Whether a role is enough."""
    order: tuple[str, ...] = ("nobody", *get_args(Role))
    return order.index(role) >= order.index(need)


@cache
def _table() -> tuple[tuple[str, Pattern[str], Need], ...]:
    return tuple(_places())


def _places() -> Iterator[tuple[str, Pattern[str], Need]]:
    for need, lines in _PLACES.items():
        for line in lines.split("\n"):
            if line.strip():
                method, path = line.split()
                yield method, compile_path(path)[0], need
