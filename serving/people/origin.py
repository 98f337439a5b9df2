"""Where a request comes from: this machine, or a page of another site."""

import ipaddress
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

_NAMES = frozenset(("localhost",))
_OURS = frozenset(("same-origin", "none"))


def is_here(request: HTTPConnection) -> bool:
    """Whether it comes from this machine and is meant for it.

    The host it asks for keeps out web pages that made a name of theirs point here.
    """
    address = request.client.host if request.client else ""
    return is_loopback(address) and is_local_name(request.url.hostname or "")


def is_local_name(host: str) -> bool:
    """Whether a host name or address is this machine's loopback."""
    return host in _NAMES or is_loopback(host)


def is_loopback(address: str) -> bool:
    """Whether an address is of the loopback interface."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def is_foreign(request: HTTPConnection, *, browser: bool) -> bool:
    """Whether a page of another site may have made a browser ask this.

    Browsers say so in Sec-Fetch-Site, or over plain HTTP in Origin, and no page can change either.
    Where only a browser can be asking (`browser`) neither is as bad as a wrong one.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site not in _OURS
    if origin is not None:
        return urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower()
    return browser
