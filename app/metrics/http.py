"""How many requests there were, and how long they waited for their answer."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: A poll takes a millisecond or two, an upload minutes.
_BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

#: In the place of a route: what was refused before one was looked for, and what there is not.
NO_ROUTE = "none"


class HttpMetrics:
    """By method, template of the route (never the path, which anyone may choose) and status."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "dspt_http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "dspt_http_request_seconds",
            "Seconds from a request's first line to that of its answer; a stream may go on.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=registry,
        )
        # To look a series up by its labels costs more than to count in it.
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        series = self._series.get((method, route, status))
        if series is None:
            known = method if method in _METHODS else "other"
            series = (
                self._requests.labels(known, route, str(status)),
                self._seconds.labels(known, route),
            )
            if known == method:  # else there would be no end of them
                self._series[method, route, status] = series
        series[0].inc()
        series[1].observe(seconds)


class CountRequests:
    """Tell `app.state.http_metrics` of each request."""

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
            metrics.answered(scope["method"], route, status, seconds)
