"""Who may use DICOMweb: whom the gate let through, and without a gate this machine alone."""

from starlette.requests import Request

from imaging.errors import NotAuthorized
from serving.people.origin import is_here
from serving.people.person import SCOPE


def admit(request: Request) -> None:
    """Raise `NotAuthorized` unless the gate knows who asks, or it comes from this machine."""
    if SCOPE not in request.scope.get("state", {}) and not is_here(request):
        msg = "DICOMweb is served to this machine only"
        raise NotAuthorized(msg)
