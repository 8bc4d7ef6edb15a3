"""The calls of the service, by feature."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from fastapi import FastAPI
from starlette.routing import BaseRoute

from app.access.key_endpoints import router as keys_router
from app.access.session_endpoints import router as session_router
from app.access.token_endpoints import router as tokens_router
from app.backbones.endpoints import router as backbones_router
from app.batches.endpoints import router as batches_router
from app.comparisons.endpoints import models_router as model_comparisons_router
from app.comparisons.endpoints import router as comparisons_router
from app.datasets.addition_endpoints import router as additions_router
from app.datasets.demo_endpoints import router as demo_router
from app.datasets.endpoints import router as datasets_router
from app.datasets.upload_endpoints import router as uploads_router
from app.feedback.endpoints import router as feedback_router
from app.health.endpoints import router as health_router
from app.jobs.endpoints import router as jobs_router
from app.jobs.review.endpoints import router as review_router
from app.jobs.review.result_endpoints import router as results_router
from app.kit.http.docs_page import router as docs_router
from app.kit.http.errors_page import router as errors_router
from app.metrics.endpoints import router as metrics_router
from app.models.alias_endpoints import router as aliases_router
from app.models.card_endpoints import router as cards_router
from app.models.endpoints import router as models_router
from app.predictions.endpoints import router as predictions_router
from app.releases.endpoints import router as releases_router
from app.web.endpoints import router as web_router
from app.webhooks.endpoints import router as webhooks_router

_ROUTERS = (
    jobs_router,
    results_router,
    review_router,
    datasets_router,
    demo_router,
    additions_router,
    uploads_router,
    models_router,
    cards_router,
    aliases_router,
    model_comparisons_router,
    releases_router,
    predictions_router,
    tokens_router,
    batches_router,
    webhooks_router,
    feedback_router,
    comparisons_router,
    backbones_router,
    keys_router,
    metrics_router,
    session_router,
    health_router,
    web_router,
    docs_router,
    errors_router,
)

#: All calls. They are not included in another router, which would build each of them again.
ROUTES: Final[list[BaseRoute]] = [route for router in _ROUTERS for route in router.routes]


@asynccontextmanager
async def open_features(app: FastAPI) -> AsyncIterator[None]:
    """Open what the features need, and close it in the opposite order."""
    async with AsyncExitStack() as stack:
        for router in _ROUTERS:
            await stack.enter_async_context(router.lifespan_context(app))
        yield
