"""Figures of the running API for Prometheus: GET /metrics. Each feature defines its own."""
