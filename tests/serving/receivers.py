"""Receivers of notifications on loopback, which answer as told and remember what they got."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Got = list[tuple[dict[str, str], bytes]]


class Web:
    """An HTTP server; `status` and `headers` may be changed while it runs."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.status, self.headers, self.said = status, headers, b""
        self.got: Got = []
        self.url = ""

    def answer(self, _path: str, body: bytes) -> tuple[int, bytes]:
        return self.status, self.said


@contextmanager
def serving(receiver: Web, tls: ssl.SSLContext | None = None) -> Iterator[Web]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.reply(b"")

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append((dict(self.headers), body))
            self.reply(body)

        def reply(self, body: bytes) -> None:
            status, said = receiver.answer(self.path, body)
            self.send_response(status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_args): ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        receiver.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
        yield receiver
        server.shutdown()
        thread.join(10)


@contextmanager
def web(status: int = 204, **headers: str) -> Iterator[Web]:
    with serving(Web(status, headers)) as receiver:
        yield receiver
