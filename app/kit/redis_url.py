"""The address of the broker for redis-py."""

from __future__ import annotations


def redis_url(broker_url: str) -> str:
    """Return `broker_url` with redis-py's scheme of a unix socket instead of Celery's."""
    return broker_url.replace("redis+socket:", "unix:", 1)
