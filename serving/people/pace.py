"""How fast one client may ask: a bucket of requests that fills at a steady pace.

So no program that asks without end, by mistake or not, takes the service from everybody else.
"""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from pydantic import Field

from serving.people.person import User
from serving.sections import Section

_log = structlog.get_logger(__name__)
_FREE = ("/healthz", "/readyz", "/metrics", "/api/events", "/static/")
_REMEMBERED = 10_000
_NETWORK_BITS = 64  # of IPv6: one client has at least so many addresses


class RequestSettings(Section):
    """``[requests]``: how fast one client may ask."""

    per_second: float = Field(
        200.0, ge=0, description="requests a second that one client may go on with; 0: no limit"
    )
    burst: int = Field(4000, ge=1, description="requests that it may make at once before that")


@dataclass(slots=True)
class _Bucket:
    """What is left to one client, at a moment."""

    left: float
    at: float
    refused: bool = False


class Pace:
    """The buckets of those who asked last, in the memory of the web process.

    Not safe to share between threads: the event loop asks.
    """

    def __init__(
        self,
        settings: RequestSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        remembered: int = _REMEMBERED,
    ) -> None:
        self._settings, self._clock = settings or RequestSettings(), clock
        self._remembered = remembered
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, client: str) -> int:
        """Let a client ask now, and return 0; or return after how many whole seconds it may."""
        limit, now = self._settings, self._clock()
        if not limit.per_second:
            return 0
        bucket = self._buckets.setdefault(client, _Bucket(left=limit.burst, at=now))
        self._buckets.move_to_end(client)
        if len(self._buckets) > self._remembered:
            self._buckets.popitem(last=False)
        gained = (now - bucket.at) * limit.per_second
        bucket.left, bucket.at = min(bucket.left + gained, limit.burst), now
        short = bucket.left < 1
        if short and not bucket.refused:
            _log.warning("client_too_fast", client=client)
        bucket.refused = short
        if short:
            return math.ceil((1 - bucket.left) / limit.per_second)
        bucket.left -= 1
        return 0


def is_free(path: str, user: User | None) -> bool:
    """Whether a request counts for nobody: health, events, scripts of pages, this machine itself.

    This machine itself is whoever asks while there is no account; nobody else is let in then.
    """
    return path.startswith(_FREE) or (user is not None and user.how == "loopback")


def client_of(user: User | None, address: str) -> str:
    """Return who is counted: a person or key wherever they ask from, else an address.

    The address is that of a proxy's client only where the web server trusts the proxy.
    """
    return f"{user.how} {user.name}" if user else f"address {_network(address)}"


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4 or parsed.is_loopback:  # noqa: PLR2004
        return address
    return str(ipaddress.ip_network((parsed, _NETWORK_BITS), strict=False))
