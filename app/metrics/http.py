"""Metrics of HTTP requests: count and duration."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: A poll takes a millisecond or two, an upload minutes.
_BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

#: Route label of requests that were refused before routing, or that match no route.
NO_ROUTE = "none"


class HttpMetrics:
    """Labels: method, route template (never the path, which callers choose) and status."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "dspt_http_requests",
            "HTTP requests.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "dspt_http_request_seconds",
            "Seconds until the response starts; a stream may continue.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=registry,
        )
        # Cached, because a lookup by labels costs more than the increment.
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        series = self._series.get((method, route, status))
        if series is None:
            known = method if method in _METHODS else "other"
            series = (
                self._requests.labels(known, route, str(status)),
                self._seconds.labels(known, route),
            )
            if known == method:  # callers could otherwise create any number of series
                self._series[method, route, status] = series
        series[0].inc()
        series[1].observe(seconds)


class CountRequests:
    """Count each request in `app.state.http_metrics`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status, seconds = time.perf_counter(), 500, None

        async def send_timed(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status, seconds = message["status"], time.perf_counter() - start
            await send(message)

        try:
            await self.app(scope, receive, send_timed)
        finally:
            if seconds is None:
                seconds = time.perf_counter() - start
            metrics: HttpMetrics = scope["app"].state.http_metrics
            route = getattr(scope.get("route"), "path", NO_ROUTE)
            metrics.observe(scope["method"], route, status, seconds)
