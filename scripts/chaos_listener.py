"""Who is told in the chaos run: it remembers each event, and is not always quick to say so."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from typing_extensions import override

from scripts.loopback import HOST

_BUSY_EACH, _MUTE_EACH = 7, 5
_LISTEN_S = 0.1


class Listener:
    """A webhook receiver; every fifth event it keeps without an answer, every seventh is refused.

    `got` are the bodies by id, in the order in which they came.
    """

    def __init__(self) -> None:
        self.got: dict[str, list[bytes]] = {}
        self._lock, self._requests = threading.Lock(), 0
        self._server = ThreadingHTTPServer((HOST, 0), _answering(self._answer))
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(_LISTEN_S,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, message_id: str, body: bytes) -> int | None:
        """Return the status, or ``None`` for no answer."""
        with self._lock:
            self._requests += 1
            if self._requests % _BUSY_EACH == 0:
                return 503
            self.got.setdefault(message_id, []).append(body)
            return None if self._requests % _MUTE_EACH == 0 else 204


def _answering(answer: Callable[[str, bytes], int | None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if len(body) < int(self.headers["Content-Length"]):
                return  # who sent it was killed
            status = answer(self.headers["webhook-id"], body)
            if status is not None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

        @override
        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    return Handler
