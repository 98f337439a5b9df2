"""One HTTP request, within limits of time and size; redirects are not followed."""

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpx

from dicom_node.scu import Timeouts
from serving.notify.told import Told

_PASSING = frozenset({408, 425, 429})  # what a receiver says of now, not of the message
_LONGEST_WAIT_S = 86400.0
_LONGEST_ANSWER = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    told: Told


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    context: ssl.SSLContext,
    timeouts: Timeouts,
) -> Answer:
    """Post once; whatever fails is a word of its own, never the receiver's."""
    try:
        return asyncio.run(_post(url, body, headers, context=context, timeouts=timeouts))
    except (TimeoutError, httpx.TimeoutException):
        return _none("no answer in time")
    except ssl.SSLError as error:
        return _none(f"TLS fails: {error.reason}")
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return _none(f"cannot be reached: {type(error).__name__}")


async def _post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    context: ssl.SSLContext,
    timeouts: Timeouts,
) -> Answer:
    async with (
        asyncio.timeout(timeouts.connect_s + timeouts.reply_s),
        httpx.AsyncClient(
            verify=context,
            timeout=httpx.Timeout(timeouts.reply_s, connect=timeouts.connect_s),
            trust_env=False,
            follow_redirects=False,
        ) as client,
        client.stream("POST", url, content=body, headers=dict(headers)) as response,
    ):
        said = b""
        async for chunk in response.aiter_bytes():
            said += chunk
            if len(said) > _LONGEST_ANSWER:  # the status counts all the same
                break
        told = _judged(response.status_code, response.headers.get("Retry-After", ""))
        return Answer(status=response.status_code, body=said, told=told)


def _none(words: str) -> Answer:
    return Answer(status=0, body=b"", told=Told(verdict="waiting", words=words))


def _judged(status: int, retry_after: str) -> Told:
    said = f"HTTP {status}"
    if 200 <= status < 300:  # noqa: PLR2004
        return Told(verdict="delivered", answer=said)
    if 400 <= status < 500 and status not in _PASSING:  # noqa: PLR2004
        return Told(verdict="refused", answer=said)
    return Told(verdict="waiting", answer=said, retry_in_s=_seconds(retry_after))


def _seconds(retry_after: str) -> float:
    """Return how long a receiver asks us to wait: a number or a date (RFC 9110 10.2.3)."""
    if retry_after.isascii() and retry_after.isdigit():
        return min(float(retry_after), _LONGEST_WAIT_S)
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max(0.0, at.timestamp() - time.time()), _LONGEST_WAIT_S)
