"""The web process: REST, DICOMweb, health and figures."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from dicom_node.web_instance import ROOT as DICOMWEB
from imaging.errors import SetupError
from serving.app import build
from serving.audit_web import Audited
from serving.dicomweb import routes as dicomweb
from serving.parts import Parts
from serving.people.gate import Gate
from serving.people.origin import is_local_name
from serving.people.pace import Pace
from serving.settings import Settings
from serving.viewer.package import ROOT as VIEWER
from serving.viewer.site import Viewer
from serving.web_tls import context_factory


def application(parts: Parts) -> ASGIApp:
    """Return everything that is served, behind the gate; the audit trail sees refusals too."""
    gate = Gate(everything(parts), parts.people, Pace(parts.settings.requests))
    return Audited(gate, parts.auditor, parts.journal)


def everything(parts: Parts) -> "Front":
    """Return everything that is served, to whoever asks."""
    viewer = Viewer(parts.settings.data_folder)
    return Front(build(parts), {DICOMWEB: dicomweb.build(parts), VIEWER: viewer})


@dataclass(frozen=True, slots=True)
class Front:
    """Sends what is for another application there, by the first part of the address.

    That spares DICOMweb, which is asked much and often, the routes of REST.
    """

    rest: ASGIApp
    others: Mapping[str, ASGIApp]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        root = "/" + f"{scope.get('path', '')}//".split("/", 2)[1]
        if root in self.others and (scope["type"] == "http" or root == DICOMWEB):
            await self.others[root]({**scope, "root_path": root}, receive, send)
        else:
            await self.rest(scope, receive, send)


def exposed(parts: Parts) -> str:
    """Return why this must not be served, or nothing."""
    host = parts.settings.web.host
    if is_local_name(host) or parts.people.guarded():
        return ""
    return f"[web] host {host} is for others too, but nobody has an account: wetread users add"


def run(settings: Settings, stop: threading.Event) -> None:
    """Serve until `stop` is set.

    Raises
    ------
    SetupError
        Others could reach it and nobody has an account or a key.
    """
    parts = Parts(settings, process="web")
    if exposed(parts):
        raise SetupError(exposed(parts))
    app = application(parts)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.web.host,
            port=settings.web.port,
            log_config=None,
            timeout_graceful_shutdown=2,
            ssl_context_factory=context_factory(settings.web),
        )
    )
    thread = threading.Thread(target=server.run, name="web", daemon=True)
    parts.auditor.start()
    thread.start()
    while thread.is_alive() and not stop.wait(0.5):
        pass
    if not stop.is_set():
        msg = f"the web server cannot run on {settings.web.host}:{settings.web.port}; see the log"
        raise SetupError(msg)
    server.should_exit = True
    thread.join(timeout=5)
    parts.auditor.stop()
