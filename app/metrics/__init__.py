"""GET /metrics for Prometheus, and metrics of HTTP requests."""
