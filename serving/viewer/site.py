"""Serving the installed viewer: its files, its configuration, its page for every other address."""

import mimetypes
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from serving.viewer.configuration import app_config
from serving.viewer.package import COMPRESSED, ROOT, folder_of, installed

_TYPES = {".js": "text/javascript", ".wasm": "application/wasm", ".mjs": "text/javascript"}
_FOR_GOOD, _ASK_AGAIN = "public, max-age=31536000, immutable", "no-cache"
_ABSENT = (
    "The viewer is not installed.\n\nRun once: wetread viewer install\n"
    "Everything else works without it.\n"
)
# It compiles and evaluates code of its own, and starts workers from memory; nothing from elsewhere.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; frame-src 'self' blob:; "
    "object-src 'self' blob:; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)


@dataclass(frozen=True, slots=True)
class Viewer:
    """The viewer of one installation, as a web application."""

    data_folder: Path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._answer(Request(scope))(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        path = request.url.path.removeprefix(ROOT)
        if request.method not in {"GET", "HEAD"}:
            return PlainTextResponse("Method Not Allowed", 405, headers={"Allow": "GET, HEAD"})
        if not installed(self.data_folder):
            return PlainTextResponse(_ABSENT, 503, headers={"Cache-Control": "no-store"})
        if not path:
            return RedirectResponse(f"{ROOT}/")
        if path == "/app-config.js":
            headers = {"Cache-Control": _ASK_AGAIN}
            return Response(app_config(), media_type="text/javascript", headers=headers)
        return self._file(request, path.lstrip("/"))

    def _file(self, request: Request, name: str) -> Response:
        folder = folder_of(self.data_folder)
        file = (folder / name).resolve()
        if not file.is_relative_to(folder.resolve()) or (Path(name).suffix and not file.is_file()):
            return PlainTextResponse("Not Found", 404)
        if not file.is_file():  # an address within the viewer
            file = folder / "index.html"
        kind = _TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0]
        hashed = len(file.name.split(".")) > 2 or file.suffix == ".wasm"  # noqa: PLR2004
        headers = {
            "Cache-Control": _FOR_GOOD if hashed else _ASK_AGAIN,
            "Content-Security-Policy": _POLICY,
            "X-Content-Type-Options": "nosniff",
            "Vary": "Accept-Encoding",
        }
        if file.suffix in COMPRESSED and "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            file = file.with_name(f"{file.name}.gz")
        return FileResponse(file, media_type=kind or "application/octet-stream", headers=headers)
