"""The web process: REST, DICOMweb, health and figures."""

import threading

import uvicorn
from fastapi import FastAPI

from dicom_node.web_instance import ROOT
from imaging.errors import SetupError
from serving.app import build
from serving.dicomweb import routes as dicomweb
from serving.health import Health
from serving.parts import Parts
from serving.settings import Settings


def application(parts: Parts) -> FastAPI:
    """Return everything that is served."""
    app = build(
        index=parts.index,
        archive=parts.archive,
        journal=parts.journal,
        operations=parts.operations,
        registry=parts.registry,
        health=Health(parts.settings, parts.index, parts.archive),
    )
    app.mount(ROOT, dicomweb.build(parts))
    return app


def run(settings: Settings, stop: threading.Event) -> None:
    """Serve until `stop` is set."""
    app = application(Parts(settings))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.web.host,
            port=settings.web.port,
            log_config=None,
            timeout_graceful_shutdown=2,
        )
    )
    thread = threading.Thread(target=server.run, name="web", daemon=True)
    thread.start()
    while thread.is_alive() and not stop.wait(0.5):
        pass
    if not stop.is_set():
        msg = f"the web server cannot run on {settings.web.host}:{settings.web.port}; see the log"
        raise SetupError(msg)
    server.should_exit = True
    thread.join(timeout=5)
