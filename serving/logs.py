"""Structured logs on standard error. Fields name studies and workitems by UID, never a patient."""

import logging
import sys
from functools import partial

import structlog

from serving.sections import LogSettings

_CHATTY = ("pynetdicom", "pydicom", "alembic", "dbos", "highdicom", "uvicorn.access", "httpx")


def configure(settings: LogSettings, *, process: str) -> None:
    """Send all logs of this process, those of libraries too, through one format."""
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.ExtraAdder(),
        partial(_named, process=process),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if settings.format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.level.upper())
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _named(
    _logger: object, _method: str, event: structlog.types.EventDict, *, process: str
) -> structlog.types.EventDict:
    """Say which process speaks, whatever thread it is in."""
    event["process"] = process
    event.pop("color_message", None)  # for terminals, from uvicorn
    return event
