"""Pools of workers: who takes what, from which queue, and what callers see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from app.jobs.lifecycle.lease import JobLease
from app.jobs.lifecycle.outbox import Outbox
from app.kit.context import Context
from app.kit.pools import Pool
from app.kit.settings import Settings
from app.main import create_app
from app.tables.jobs import Job
from tests.integration.conftest import local_client, zip_of
from tests.integration.databases import on_sqlite
from tests.integration.jobs import add_job, problem
from tests.integration.stack import Stack, photos
from tests.services import RedisServer, redis_server
from tests.warm import Warm

POOLS = [
    Pool(name="small", backbones=("builtin",)),
    Pool(name="gpu", backbones=("ViT-B-16/openai",)),
]


def in_pool(context: Context, pool: str) -> Context:
    """As a worker of the pool sees it."""
    settings = context.settings.model_copy(update={"worker_pool": pool})
    return Context(settings, context.database, context.storage)


def add_to(context: Context, pool: str, owner: str = "local") -> str:
    job_id = add_job(context, owner)
    with context.database.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(pool=pool))
    return job_id


def test_a_worker_takes_only_the_work_of_its_pool(context: Context) -> None:
    job_id = add_to(context, "gpu")
    assert JobLease.claim_next(context, "worker") is None
    assert JobLease.claim_next(in_pool(context, "small"), "worker") is None
    lease = JobLease.claim_next(in_pool(context, "gpu"), "worker")
    assert lease is not None
    assert lease.id == job_id


def test_owners_take_turns_in_each_pool(context: Context) -> None:
    gpu = in_pool(context, "gpu")
    first = [add_to(context, "gpu", "anna") for _ in range(3)]
    add_to(context, "default", "anna")
    other = add_to(context, "gpu", "ben")
    # Work in another pool does not count as anna's turn here.
    assert JobLease.claim_next(context, "worker") is not None
    claims = [JobLease.claim_next(gpu, "worker") for _ in range(3)]
    assert [claim.id for claim in claims if claim] == [first[0], other, first[1]]


def test_each_pool_has_messages_for_its_own_work(context: Context) -> None:
    mine, theirs = add_to(context, "default"), add_to(context, "gpu")
    sent: list[tuple[str, str]] = []
    asked: list[str] = []

    def waiting(pool: str) -> int:
        asked.append(pool)
        return 1

    outbox = Outbox(context, lambda *each: sent.append(each), waiting)
    assert outbox.relay() == 2
    assert sent == [(mine, "default"), (theirs, "gpu")]
    assert outbox.relay() == 0
    assert sorted(asked) == ["default", "gpu"]


@on_sqlite
def test_the_backbone_of_a_job_decides_its_pool(settings: Settings) -> None:
    with local_client(create_app(settings.model_copy(update={"pools": POOLS}))) as client:

        def post(backbone: str) -> Any:
            files = {"dataset": ("a.zip", zip_of(photos()))}
            data = {"config": json.dumps({"backbone": backbone})}
            return client.post("/jobs", files=files, data=data)

        job = post("ViT-B-16/openai").json()
        assert job["pool"] == "gpu"
        assert job["progress"]["message"] == (
            "waiting: no worker of the pool gpu is running. Start one with "
            "`dspt worker --pool gpu`."
        )
        [listed] = client.get("/jobs").json()["data"]
        assert listed["progress"]["message"] == job["progress"]["message"]
        assert post("builtin").json()["pool"] == "small"
        problem(post("ViT-B-32/openai"), 422, "no_pool")
        workers = client.get("/health/ready").json()["checks"]["workers"]
        assert workers["pools"] == {"small": 0, "gpu": 0}
        assert "dspt worker --pool gpu" in workers["detail"]


@pytest.mark.slow
@on_sqlite
def test_a_worker_of_a_pool_does_its_work_and_ends_when_idle(
    settings: Settings, warm_start: Warm, tmp_path: Path
) -> None:
    with redis_server() as redis:
        settings = settings.model_copy(update={"pools": POOLS, "broker_url": redis.url})
        stack = Stack(settings, tmp_path / "worker.log", warm_start)
        with stack.client:
            _work_and_end(stack)


def _work_and_end(stack: Stack) -> None:
    small = stack.post(photos(), epochs=2)
    other = stack.post(photos(), epochs=2, backbone="ViT-B-16/openai")
    with stack.worker("--pool", "small", "--exit-when-idle", "1") as process:
        assert process.wait(600) == 0, stack.log()
    assert stack.job(small)["status"] == "succeeded"
    # Its end was orderly: its row has gone, and what is not its own is untouched.
    assert stack.job(other)["progress"]["message"].startswith("waiting: no worker of the pool")
    assert stack.statuses(other) == ["queued"]


@on_sqlite
def test_a_worker_of_an_unknown_pool_does_not_start(
    settings: Settings, redis: RedisServer, warm_start: Warm, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"pools": POOLS, "broker_url": redis.url})
    stack = Stack(settings, tmp_path / "worker.log", warm_start)
    with stack.worker("--pool", "big") as process:
        assert process.wait(120) == 2
    assert "DSPT_POOLS has no pool 'big'. Choose one with --pool: small, gpu." in stack.log()
