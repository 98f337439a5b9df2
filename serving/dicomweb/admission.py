"""Who may use DICOMweb: the one place where permission is given.

Until there are credentials it is this machine alone: by the client's address and the host it asked
for. The latter keeps out web pages that made a name of theirs point here.
"""

import ipaddress

from starlette.requests import Request

from imaging.errors import NotAuthorized

_NAMES = frozenset(("localhost",))


def admit(request: Request) -> None:
    """Raise `NotAuthorized` unless the request comes from this machine and is meant for it."""
    address = request.client.host if request.client else ""
    if not (_is_loopback(address) and _is_here(request.url.hostname or "")):
        msg = "DICOMweb is served to this machine only"
        raise NotAuthorized(msg)


def _is_here(host: str) -> bool:
    return host in _NAMES or _is_loopback(host)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
