"""Structured logs: JSON lines, or coloured text on a terminal; also for other libraries."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.types import Processor

from app.kit.settings import Settings


def configure_logging(settings: Settings, *more: Processor) -> None:
    """Send structlog's and the standard library's records through one formatter to stderr.

    So do the warnings of libraries.

    `more` processors run on every record.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *more,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    last: list[Processor] = (
        # plain_traceback: the rich one prints local variables, which may contain user data.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "celery", "celery.task"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
    logging.captureWarnings(True)
    # RequestContext logs each request, with its id and duration.
    logging.getLogger("uvicorn.access").disabled = True
