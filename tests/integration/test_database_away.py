"""The database is stopped and started again while a worker runs a job."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.kit.schema import migrate
from app.kit.settings import Settings
from tests.integration.stack import Stack, photos
from tests.services import PostgresServer, RedisServer, restartable_postgres, wait_until
from tests.warm import Warm

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL that no other test uses."""
    with restartable_postgres() as opened:
        yield opened


@pytest.fixture
def stack(
    server: PostgresServer, redis: RedisServer, tmp_path: Path, warm_start: Warm
) -> Iterator[Stack]:
    migrate(server.url)
    settings = Settings(
        data_dir=tmp_path / "data",
        database_url=server.url,
        broker_url=redis.emptied(),
        heartbeat_seconds=1.2,
        housekeeping_seconds=0.05,
        max_attempts=1,
        no_auth=True,
    )
    opened = Stack(settings, tmp_path / "worker.log", warm_start)
    with opened.client:
        yield opened


def test_an_outage_longer_than_a_lease_costs_no_attempt(
    stack: Stack, server: PostgresServer
) -> None:
    assert stack.settings.max_attempts == 1  # so that the job would fail
    job_id = stack.post(photos(per_class=20), epochs=1000, batch_size=1)
    with stack.worker():
        stack.wait(job_id, lambda job: job["progress"]["stage"] == "tuning")
        server.stop()
        wait_until(lambda: noticed(stack), 60, "the worker to notice")
        back = time.monotonic() + stack.settings.lease_seconds
        wait_until(lambda: time.monotonic() > back, 60, "the length of a lease")
        server.start()
        before = stack.job(job_id)["progress"]["epoch"]
        stack.wait(job_id, lambda job: job["progress"]["epoch"] > before)
        stack.client.post(f"/jobs/{job_id}/cancel")
        job = stack.wait(job_id, lambda job: job["status"] == "cancelled")
    assert job["attempt"] == 1
    expected = ["queued", "validating", "running", "cancelling", "cancelled"]
    assert stack.statuses(job_id) == expected


def noticed(stack: Stack) -> bool:
    """Whether the worker noticed the outage and continues."""
    return any("the job goes on" in line["event"] for line in stack.log_lines())
