"""The ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.routing import RouteContext, iter_route_contexts
from fastapi.telemetry import TelemetryConfig
from prometheus_client import CollectorRegistry, ProcessCollector
from starlette.concurrency import run_in_threadpool
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route
from starlette.types import Scope

from app.access import keys, sessions
from app.access.callers import Callers
from app.access.last_uses import LastUses
from app.access.middleware import AuthMiddleware
from app.access.path_tokens import PathTokens, TakeToken, has_token
from app.access.rate_limits import RateLimits
from app.access.sessions import SignInLink
from app.background import Background
from app.installation.start import prepare
from app.kit.batched_reader import BatchedReader
from app.kit.context import Context
from app.kit.http.backpressure import Backpressure
from app.kit.http.error_handlers import install_error_handlers
from app.kit.http.known_names import forbid_other_fields
from app.kit.http.middleware import BeforeBody, BodyLimit, RequestContext, SecureHeaders
from app.kit.http.rules import FindRules, check_rules, find_rules, rules
from app.kit.http.stopping import Stop, StopRequests
from app.kit.http.uploads import Uploads
from app.kit.settings import Settings, get_settings
from app.kit.tracing import Tracing
from app.metrics.http import CountRequests, HttpMetrics
from app.predictions.role import PredictionsOnly
from app.predictions.settings import PredictionSettings
from app.routes import ROUTES, open_features

#: What pages of other origins may send and read; credentials other than a key are not used.
_CORS: dict[str, Any] = {
    "allow_methods": ("GET", "POST", "PATCH", "PUT", "DELETE"),
    "allow_headers": (
        "Authorization",
        "Idempotency-Key",
        "If-Match",
        "If-None-Match",
        "Last-Event-ID",
    ),
    "expose_headers": ("ETag", "Idempotent-Replayed", "Location", "Retry-After", "X-Request-ID"),
}


def create_app(
    settings: Settings | None = None,
    prepared: Context | None = None,
    sign_in_sha256: str | None = None,
    metrics_socket: Path | None = None,
) -> FastAPI:
    """Build the application; it opens what it needs at start.

    prepared: the result of `installation.start.prepare`, for a single start. Default: the
    application prepares database and storage at each start. sign_in_sha256: digest of the token
    of a link that signs in once. metrics_socket: see `app.metrics.report`. Raises
    TracingNotInstalled.
    """
    settings = settings or get_settings()
    predict_settings = PredictionSettings()
    if settings.role == "api":
        predict_settings = predict_settings.model_copy(update={"warm_up": ""})
    tracing = Tracing(settings, "dspt-api")
    routes: list[RouteContext] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        context = await run_in_threadpool(prepare, settings) if prepared is None else prepared
        # Not the library's global one: several applications may run in one process.
        app.state.registry = registry = CollectorRegistry()
        app.state.http_metrics = HttpMetrics(registry)
        ProcessCollector(registry=registry)
        background = Background(context)
        app.state.loops = background.loops
        app.state.housekeeper = background.housekeeper
        app.state.webhook_sender = background.webhook_sender
        app.state.context = context
        app.state.reader = reader = BatchedReader(
            context.database, settings.database_timeout_seconds
        )
        app.state.rate_limits = rate_limits = RateLimits(
            settings.requests_per_minute, settings.images_per_minute, settings.broker_url
        )
        app.state.path_tokens = PathTokens(context)
        app.state.last_uses = last_uses = LastUses(context.database, keys.used)
        app.state.session_uses = session_uses = LastUses(context.database, sessions.used)
        if settings.bootstrap_key:
            await run_in_threadpool(_ensure_bootstrap_key, context)
        await run_in_threadpool(background.start, registry)
        try:
            async with open_features(app):
                yield
        finally:
            await run_in_threadpool(background.stop)
            # What still waits for a silent database ends now.
            context.database.abort()
            await run_in_threadpool(background.close)
            await run_in_threadpool(reader.close)
            await run_in_threadpool(last_uses.close)
            await run_in_threadpool(session_uses.close)
            await rate_limits.close()
            context.close()
            await run_in_threadpool(tracing.close)

    app = FastAPI(
        title="DSPT",
        summary="Tune CLIP's prompt on a few photos per class, some of them mislabelled.",
        version=version("dspt"),
        lifespan=lifespan,
        telemetry=_telemetry(
            tracing, lambda scope: find_rules(routes, scope).probe or has_token(scope)
        ),
        docs_url=None,
        redoc_url=None,
        servers=[{"url": "/", "description": "this service"}],
        routes=list(ROUTES),
    )
    app.state.settings = settings
    app.state.predict_settings = predict_settings
    app.state.stop = Stop()
    app.state.metrics_socket = metrics_socket
    app.state.sign_in_link = SignInLink(sign_in_sha256)
    install_error_handlers(app)
    forbid_other_fields(app)
    # From the inside out: what is refused further out costs less.
    app.add_middleware(BodyLimit, default_bytes=settings.max_body_bytes)
    app.add_middleware(Uploads, settings=settings)
    app.add_middleware(BeforeBody)
    callers = Callers(settings.no_auth)
    app.add_middleware(AuthMiddleware, callers=callers)
    if settings.role == "api":
        from app.predictions.forwarding import ForwardPredictions

        app.add_middleware(ForwardPredictions, identify=callers.identify)
    elif settings.role == "predict":
        app.add_middleware(PredictionsOnly)
    app.add_middleware(Backpressure, most=settings.max_waiting_requests)
    app.add_middleware(StopRequests, stop=app.state.stop)
    app.add_middleware(SecureHeaders)
    app.add_middleware(RequestContext)
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, allow_origins=settings.cors_origins, **_CORS)
    app.add_middleware(FindRules)
    app.add_middleware(CountRequests)
    app.add_middleware(TakeToken)
    for route in app.routes:
        if isinstance(route, Route) and route.path == app.openapi_url:
            rules(None)(route.endpoint)
    check_rules(app)
    routes.extend(iter_route_contexts(app.routes))
    return app


def _ensure_bootstrap_key(context: Context) -> None:
    with context.database.write() as session:
        keys.ensure_bootstrap(session, context.settings.bootstrap_key)


def _telemetry(tracing: Tracing, exclude: Callable[[Scope], bool]) -> TelemetryConfig:
    """Trace requests if a collector is set; Prometheus has the metrics, structlog the logs."""
    return {
        "tracing": tracing.provider is not None,
        "tracer_provider": tracing.provider,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "exclude": exclude,
    }
