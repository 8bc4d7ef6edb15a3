"""Batches: steps, killed workers, turns with jobs. Nothing here needs torch."""

from __future__ import annotations

import io
import multiprocessing
import os
import random
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from dspt_client.schemas.status import Status
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import update

from app.batches import repository
from app.batches.lease import BatchLease
from app.batches.repository import BATCHES
from app.jobs.lifecycle.heartbeat_monitor import HeartbeatMonitor
from app.jobs.lifecycle.lease import JobLease
from app.jobs.lifecycle.outbox import Outbox
from app.jobs.lifecycle.reaper import Reaper
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.ids import new_id
from app.kit.settings import Settings
from app.leased.lease import StepRefusedError, claim_first
from app.tables.batches import Batch
from app.tables.models import Model
from tests.integration.conftest import zip_of
from tests.integration.jobs import add_job, files_in, make_model, problem
from tests.services import wait_until
from worker import batch as worker_batch
from worker.run import run_next

IMAGES = 300
KILLS = 4


class Brightness:
    """A classifier without torch: the score of an image is its brightness."""

    read_side = 448

    def crop(self, image: Image.Image) -> int:
        grey = image.convert("L").getpixel((0, 0))
        assert isinstance(grey, int)
        return grey

    def predict_crops(self, crops: Sequence[int], _top_k: int) -> list[list[tuple[str, float]]]:
        return [[("grey", grey / 255)] for grey in crops]


def grey_zip(count: int = IMAGES) -> bytes:
    """Images of different brightness; every 50th is unreadable."""
    files = {}
    for number in range(count):
        data = io.BytesIO()
        Image.new("L", (8, 8), number % 251).save(data, "PNG")
        files[f"{number:05}.png"] = b"x" if number % 50 == 49 else data.getvalue()
    return zip_of(files)


def add_batch(context: Context, data: bytes | None = None) -> str:
    batch_id = new_id("bat")
    if data is not None:
        context.storage.put_bytes(storage_keys.batch(batch_id), data)
    with context.database.write() as session:
        session.add(
            Batch(
                id=batch_id,
                owner="local",
                name="a",
                status=Status.QUEUED,
                created_at=datetime.now(UTC),
                queued_at=datetime.now(UTC),
                model_id=new_id("mdl"),
                filename="a.zip",
                size_bytes=1,
                options={"top_k": 5, "reject_below": None},
                request_sha256="0" * 64,
            )
        )
    return batch_id


def read(context: Context, batch_id: str) -> Batch:
    with context.database.read() as session:
        found = BATCHES.get(session, batch_id)
    assert found is not None
    return found


def lose(context: Context) -> int:
    """Take back whatever is leased, as if all workers had died."""
    seconds = 0.0
    reaper = Reaper(context, BATCHES)
    reaper._monitor = HeartbeatMonitor(float("inf"), lambda: seconds)
    reaper.reap()
    seconds = context.settings.lease_seconds
    return reaper.reap()


def work(settings: Settings) -> None:
    """Run one batch, as a worker's process does."""
    worker_batch._load = lambda *_: Brightness()  # type: ignore[assignment]
    opened = Context.open(settings)
    run_next(opened, "worker")
    opened.close()


def start(settings: Settings) -> Any:
    process = multiprocessing.get_context("fork").Process(target=work, args=[settings])
    process.start()
    return process


def test_a_killed_worker_leaves_no_double_and_no_gap(
    context: Context, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_batch, "PART", 8)
    batch_id = add_batch(context, grey_zip())
    context.database.engine.dispose()  # connections do not survive a fork
    kills, moments = 0, random.Random(0)
    while kills < KILLS:
        before = read(context, batch_id).done
        worker = start(settings)
        aim = before + moments.randrange(IMAGES // (2 * KILLS))
        wait_until(lambda aim=aim: read(context, batch_id).done > aim, 60, "results", pause=0.001)  # type: ignore[misc]
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        kills += read(context, batch_id).status == Status.RUNNING
        assert lose(context) == 1
    worker = start(settings)
    worker.join()
    assert worker.exitcode == 0
    found = read(context, batch_id)
    assert (found.status, found.done, found.unreadable) == (Status.SUCCEEDED, IMAGES, 6)
    for number, result in enumerate(results := list(repository.results(context, batch_id, 0))):
        assert result["file"] == f"{number:05}.png"
        if number % 50 == 49:
            assert result["error"]["code"]
        else:
            assert result["score"] == pytest.approx(number % 251 / 255)
    assert len(results) == IMAGES
    assert files_in(context) == set()


def test_a_worker_that_lost_its_lease_stores_nothing(context: Context) -> None:
    batch_id = add_batch(context)
    old = BatchLease.claim_next(context, "worker")
    assert old is not None
    old.opened(4)
    part = [{"file": str(i)} for i in range(2)]
    old.store(0, part)
    old.store(0, part)  # after an answer that was lost
    assert lose(context) == 1
    with pytest.raises(StepRefusedError):
        old.store(2, part)
    new = BatchLease.claim_next(context, "worker")
    assert new is not None
    assert not old.renew()
    assert old.stop_request().lost
    new.store(2, part)
    assert len(list(repository.results(context, batch_id, 0))) == 4
    assert [each["file"] for each in repository.results(context, batch_id, 3)] == ["1"]
    # Workers that die before they store anything are not tried for ever.
    for _ in range(context.settings.max_attempts + 1):  # the first one has stored something
        assert read(context, batch_id).status != Status.FAILED
        lose(context)
        BatchLease.claim_next(context, "worker")
    failed = read(context, batch_id)
    assert failed.status == Status.FAILED
    assert failed.error is not None
    assert "after the first 4" in failed.error["message"]


def test_jobs_and_batches_take_turns_and_have_a_message_each(context: Context) -> None:
    sent: list[str] = []
    first = add_job(context)
    batch_id = add_batch(context)
    claimed = claim_first(context, "worker", [BatchLease, JobLease])
    assert claimed is not None
    assert claimed.id == first
    claimed.release()
    second = add_batch(context)
    assert Outbox(context, lambda id_, _: sent.append(id_), lambda _: len(sent)).relay() == 3
    assert sent == [first, batch_id, second]
    with context.database.write() as session:
        session.execute(update(Batch).values(queued_at=datetime(2020, 1, 1, tzinfo=UTC)))
    lease = claim_first(context, "worker", [JobLease, BatchLease])
    assert isinstance(lease, BatchLease)
    lease.release()
    again = BatchLease.claim_next(context, "worker")
    assert again is not None
    assert again.id != lease.id


def test_cancel_retry_and_delete(client: TestClient, live: Context) -> None:
    model: Model = make_model("")
    model.job_id = None
    with live.database.write() as session:
        session.add(model)
    key = {"Idempotency-Key": "1"}

    def post(**fields: Any) -> Any:
        files = {"archive": ("pets.zip", grey_zip(3))}
        data = {"model": model.id, **fields}
        return client.post("/batches", data=data, files=files, headers=key)

    made = post().json()
    where = f"/batches/{made['id']}"
    again = post()
    assert (again.json()["id"], again.headers["idempotent-replayed"]) == (made["id"], "true")
    problem(post(top_k=2), 409, "idempotency_key_reused")
    problem(client.post("/batches", data={"model": model.id}), 422, "invalid_request")
    problem(client.delete(where), 409, "batch_not_finished")
    problem(client.post(f"{where}/retry"), 409, "batch_not_retriable")
    assert client.post(f"{where}/cancel").json()["status"] == "cancelled"
    problem(client.post(f"{where}/cancel"), 409, "batch_finished")
    assert client.post(f"{where}/retry").json()["status"] == "queued"
    lease = BatchLease.claim_next(live, "worker")
    assert lease is not None
    lease.store(0, [{"file": "00000.png", "label": "a", "score": 0.5}])
    assert client.post(f"{where}/cancel").json()["status"] == "cancelling"
    with pytest.raises(StepRefusedError):
        lease.store(1, [{"file": "00001.png"}])
    lease.cancelled()
    assert client.get(f"{where}/results").json()["file"] == "00000.png"
    retried = client.post(f"{where}/retry").json()
    assert (retried["status"], retried["done"]) == ("queued", 1)
    assert client.post(f"{where}/cancel").status_code == 202
    assert client.delete(where).status_code == 204
    problem(client.get(where), 404, "batch_not_found")
    assert files_in(live) == set()
