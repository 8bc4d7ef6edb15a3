"""GET /metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest

from app.access.caller import caller_router
from app.kit.http.rules import Scope, rules


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    # Its own thread: metrics matter most when all others are busy.
    with ThreadPoolExecutor(1, thread_name_prefix="metrics") as app.state.metrics_thread:
        yield


router = caller_router(tags=["health"], lifespan=_lifespan)


@router.get("/metrics", response_class=PlainTextResponse)
@rules(Scope.METRICS, probe=True)
async def metrics(request: Request) -> Response:
    """Metrics of the service for Prometheus. The key needs the scope `metrics`."""
    registry: CollectorRegistry = request.app.state.registry
    thread: ThreadPoolExecutor = request.app.state.metrics_thread
    loop = asyncio.get_running_loop()
    text = await loop.run_in_executor(thread, generate_latest, registry)
    return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)
