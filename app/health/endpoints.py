"""GET /health/live and /health/ready."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response

from app.health.schemas import Live, Ready
from app.health.service import Health
from app.kit.http.routers import public_router
from app.kit.http.rules import rules
from app.predictions.dependencies import InferenceDep


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.health = Health(app.state.context)
    try:
        yield
    finally:
        app.state.health.close()


router = public_router("/health", tags=["health"], lifespan=_lifespan)


@router.get("/live", responses={503: {"model": Live, "description": "A loop is stuck."}})
@rules(None, probe=True)
async def live(request: Request, response: Response) -> Live:
    """Liveness: the process answers and its background loops run. Checks no dependency."""
    stuck = [loop.name for loop in request.app.state.loops if loop.stuck]
    if stuck:
        response.status_code = 503
    return Live(status="stuck" if stuck else "live", stuck_loops=stuck)


@router.get(
    "/ready", responses={503: {"model": Ready, "description": "This process cannot do its work."}}
)
@rules(None, probe=True)
async def ready(request: Request, response: Response, inference: InferenceDep) -> Ready:
    """Readiness: this process can do its work. Also reports its dependencies and workers."""
    health = request.app.state.health
    assert isinstance(health, Health)
    report = await health.ready(inference.backbones)
    if request.app.state.stop.begun:
        report = report.model_copy(update={"status": "not_ready", "stopping": True})
    if report.status != "ready":
        response.status_code = 503
    return report
