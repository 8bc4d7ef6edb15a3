"""GET /metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from app.access.dependencies import caller_router
from app.kit.http.rules import Scope, rules
from app.metrics.report import Report


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state = app.state
    state.report = Report(state.registry, state.metrics_socket, state.settings.api_workers)
    async with state.report.open():
        yield


router = caller_router(tags=["health"], lifespan=_lifespan)


@router.get("/metrics", response_class=PlainTextResponse)
@rules(Scope.METRICS, probe=True)
async def metrics(request: Request) -> Response:
    """Metrics of the service for Prometheus. The key needs the scope `metrics`."""
    report = request.app.state.report
    assert isinstance(report, Report)
    return Response(await report.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)
