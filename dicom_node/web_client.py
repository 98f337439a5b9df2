"""One HTTP request to a DICOMweb service, with limits on time and on the size of the answer."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from dicom_node.scu import Timeouts
from dicom_node.web_peers import WebPeer
from imaging.errors import SetupError

_LONGEST_ANSWER = 32 << 20
_SLOWEST = 100_000  # bytes a second; a request that is slower than that hangs
_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """The body of a request: a file between two texts; with its media type."""

    head: bytes
    path: Path
    tail: bytes
    media_type: str

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self.head) + self.path.stat().st_size + len(self.tail)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the bytes in order."""
        yield self.head
        with self.path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
        yield self.tail


@dataclass(frozen=True, slots=True, kw_only=True)
class WebAnswer:
    """An HTTP status and body; without an answer the status is 0 and `problem` says why."""

    status: int = 0
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def ask(peer: WebPeer, path: str, *, timeouts: Timeouts, upload: Upload | None = None) -> WebAnswer:
    """Return the answer to GET, or with an `upload` to POST; it takes no longer than it may."""
    longest_s = timeouts.connect_s + timeouts.reply_s
    if upload is not None:
        longest_s += upload.size / _SLOWEST
    try:
        return asyncio.run(_ask(peer, path, timeouts, upload=upload, longest_s=longest_s))
    except TimeoutError:
        return WebAnswer(problem=f"no whole answer within {longest_s:.0f} s")
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError, SetupError) as error:
        return WebAnswer(problem=_words(error))


async def _ask(
    peer: WebPeer, path: str, timeouts: Timeouts, *, upload: Upload | None, longest_s: float
) -> WebAnswer:
    headers = {"Accept": "application/dicom+json", **peer.authorized()}
    if upload is not None:
        headers |= {"Content-Type": upload.media_type, "Content-Length": str(upload.size)}
    async with (
        asyncio.timeout(longest_s),
        httpx.AsyncClient(
            verify=ssl.create_default_context(cafile=peer.ca_file),
            timeout=httpx.Timeout(timeouts.reply_s, connect=timeouts.connect_s),
            trust_env=False,
        ) as client,
        client.stream(
            "GET" if upload is None else "POST",
            peer.url.rstrip("/") + path,
            content=None if upload is None else upload.chunks(),
            headers=headers,
        ) as response,
    ):
        return WebAnswer(
            status=response.status_code, body=await _body(response), headers=response.headers
        )


async def _body(response: httpx.Response) -> bytes:
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _LONGEST_ANSWER:
            msg = f"the answer is longer than {_LONGEST_ANSWER} bytes"
            raise httpx.DecodingError(msg)
    return body


def _words(error: Exception) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "the service does not accept connections in time"
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return f"the service cannot be reached: {str(error) or type(error).__name__}"
