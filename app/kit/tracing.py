"""Traces of requests and jobs, sent to an OpenTelemetry collector if one is set.

FastAPI creates the spans of requests. The worker's spans belong to the trace of the request that
created the job. The job's row stores its `traceparent`, because the message to the worker may be
sent later, by another process, and more than once.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import structlog
from opentelemetry.context import Context
from opentelemetry.trace import NoOpTracer, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.kit.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_STANDARD = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROPAGATOR = TraceContextTextMapPropagator()


class TracingNotInstalled(Exception):
    """A collector is set, but the OpenTelemetry SDK is not installed."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is set, but OpenTelemetry is not installed. Install it with "
            f"`pip install 'dspt[otel]'`, or unset {name}."
        )


class Tracing:
    """One per process, created after any fork. Close it at the end."""

    def __init__(self, settings: Settings, service: str) -> None:
        """`service` is the service name of the spans. Raises TracingNotInstalled."""
        self.provider = _provider(settings, service)

    @property
    def tracer(self) -> Tracer:
        return NoOpTracer() if self.provider is None else self.provider.get_tracer("dspt")

    def flush(self) -> None:
        """Send buffered spans, within a few seconds: this process may be killed."""
        if self.provider is not None:
            self.provider.force_flush(_FLUSH_MILLISECONDS)

    def close(self) -> None:
        if self.provider is not None:
            self.provider.shutdown()


#: An unavailable collector must not delay jobs.
_FLUSH_MILLISECONDS = 3000


def current_traceparent() -> str | None:
    """Return the W3C traceparent of the current span, or None."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def request_origin() -> dict[str, str | None]:
    """Return the columns `request_id` and `traceparent` of a job that this request creates."""
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    return {"request_id": request_id, "traceparent": current_traceparent()}


def context_of(traceparent: str | None) -> Context:
    """Return the context to start a child span of `traceparent` in."""
    return _PROPAGATOR.extract({} if traceparent is None else {"traceparent": traceparent})


def _wanted_by(settings: Settings) -> str | None:
    """Return the environment variable that sets a collector, if any."""
    if settings.otel_endpoint:
        return "DSPT_OTEL_ENDPOINT"
    return next((name for name in _STANDARD if os.environ.get(name)), None)


def _provider(settings: Settings, service: str) -> TracerProvider | None:
    name = _wanted_by(settings)
    if name is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise TracingNotInstalled(name) from error
    # Without an endpoint the exporter reads the standard variables.
    place = settings.otel_endpoint.rstrip("/")
    exporter = OTLPSpanExporter(endpoint=f"{place}/v1/traces" if place else None, timeout=3)
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider
