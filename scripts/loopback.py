"""Ports and plain HTTP on this machine's loopback interface."""

import http.client
import json
import socket
from collections.abc import Mapping

HOST = "127.0.0.1"
_HTTP_OK = range(200, 300)


class HttpError(Exception):
    """The server answered, but not with success; `status` is its HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text[:300]}")
        self.status = status


def free_port(preferred: int) -> int:
    """Return `preferred` when nobody listens there, else a port that is free now."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("", preferred))
        except OSError:
            sock.bind(("", 0))
        return int(sock.getsockname()[1])


def get_json(port: int, path: str, *, timeout_s: float = 10.0) -> object:
    """Return the JSON answer to GET `path`."""
    return _decoded(_request(port, path, timeout_s=timeout_s))


def get_bytes(
    port: int, path: str, *, timeout_s: float = 10.0, accept: str = "application/json"
) -> bytes:
    """Return the answer to GET `path` as it is."""
    return _request(port, path, timeout_s=timeout_s, headers={"Accept": accept})


def post_json(port: int, path: str, body: object, *, timeout_s: float = 10.0) -> object:
    """Return the JSON answer to POST `path` with a JSON body."""
    return post_bytes(port, path, json.dumps(body).encode(), timeout_s=timeout_s)


def post_bytes(
    port: int, path: str, body: bytes, *, timeout_s: float = 60.0, content_type: str = ""
) -> object:
    """Return the JSON answer to POST `path` with `body` as it is."""
    headers = {"Accept": "application/dicom+json" if content_type else "application/json"}
    if content_type:
        headers["Content-Type"] = content_type
    return _decoded(
        _request(port, path, timeout_s=timeout_s, method="POST", body=body, headers=headers)
    )


def answers(port: int, path: str) -> bool:
    """Whether GET `path` succeeds now."""
    try:
        _request(port, path, timeout_s=2.0)
    except (OSError, http.client.HTTPException, HttpError):
        return False
    return True


def _request(
    port: int,
    path: str,
    *,
    timeout_s: float,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    try:
        connection.request(method, path, body, headers or {"Accept": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status not in _HTTP_OK:
        raise HttpError(answer.status, content.decode(errors="replace"))
    return content


def _decoded(content: bytes) -> object:
    decoded: object = json.loads(content) if content else None
    return decoded
