"""Comparisons as rows: steps, dead workers, repeated requests. Nothing here needs torch.

What a worker computes is compared with the API's own answer in releases/.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from dspt_client.schemas.status import Status
from fastapi.testclient import TestClient
from sqlalchemy import update

from app.comparisons.lease import ComparisonLease
from app.comparisons.repository import COMPARISONS
from app.gc.service import collect
from app.jobs.lifecycle.heartbeat_monitor import HeartbeatMonitor
from app.jobs.lifecycle.outbox import Outbox
from app.jobs.lifecycle.reaper import Reaper
from app.kit.context import Context
from app.leased.lease import StepRefusedError
from app.tables.batches import Batch
from app.tables.comparisons import Comparison
from app.tables.jobs import Job
from tests.integration.jobs import bring_to, make_model, problem
from tests.integration.test_batches import add_batch, grey_zip


@pytest.fixture
def wanted(live: Context) -> dict[str, Any]:
    """A request that can be answered: two models and a data set."""
    job_id = bring_to(live, Status.CANCELLED)
    models = [make_model(""), make_model("")]
    with live.database.write() as session:
        dataset_id = session.get_one(Job, job_id).dataset_id
        for model in models:
            model.job_id = None
            session.add(model)
    return {"a": models[0].id, "b": models[1].id, "dataset_id": dataset_id}


def claimed(context: Context) -> ComparisonLease:
    lease = ComparisonLease.claim_next(context, "worker")
    assert lease is not None
    return lease


def lose(context: Context) -> int:
    """Take back what is leased, as if all workers had died."""
    seconds = 0.0
    reaper = Reaper(context, COMPARISONS)
    reaper._monitor = HeartbeatMonitor(float("inf"), lambda: seconds)
    reaper.reap()
    seconds = context.settings.lease_seconds
    return reaper.reap()


def test_create_cancel_retry_and_delete(
    client: TestClient, live: Context, wanted: dict[str, Any]
) -> None:
    key = {"Idempotency-Key": "1"}
    made = client.post("/comparisons", json=wanted, headers=key)
    assert made.status_code == 202, made.text
    body = made.json()
    where = made.headers["location"]
    assert (body["status"], body["name"], body["result"]) == ("queued", "a and a", None)
    assert body["links"]["self"] == where
    again = client.post("/comparisons", json=wanted, headers=key)
    assert (again.json()["id"], again.headers["idempotent-replayed"]) == (body["id"], "true")
    other = wanted | {"all": True}
    problem(client.post("/comparisons", json=other, headers=key), 409, "idempotency_key_reused")
    problem(client.delete(where), 409, "comparison_not_finished")
    problem(client.post(f"{where}/retry"), 409, "comparison_not_retriable")
    assert client.post(f"{where}/cancel").json()["status"] == "cancelled"
    problem(client.post(f"{where}/cancel"), 409, "comparison_finished")
    assert client.post(f"{where}/retry").json()["status"] == "queued"
    assert Outbox(live, lambda *_: None, lambda _: 1).relay() == 1

    lease = claimed(live)
    lease.progress(2, 4)
    running = client.get(where).json()
    assert (running["status"], running["done"], running["images"]) == ("running", 2, 4)
    assert client.post(f"{where}/cancel").json()["status"] == "cancelling"
    with pytest.raises(StepRefusedError):
        lease.succeed({})
    lease.cancelled()
    assert client.get("/comparisons").json()["data"][0]["status"] == "cancelled"
    assert client.delete(where).status_code == 204
    problem(client.get(where), 404, "comparison_not_found")
    problem(client.post("/comparisons", json=wanted | {"a": "no-such"}), 404, "model_not_found")


def test_a_comparison_of_dead_workers_fails_unless_they_got_further(
    client: TestClient, live: Context, wanted: dict[str, Any]
) -> None:
    where = client.post("/comparisons", json=wanted).json()["links"]["self"]
    for done in (1, 2, 2, 1):  # the third attempt gets no further
        lease = claimed(live)
        lease.progress(done, 4)
        assert lose(live) == 1
        assert client.get(where).json()["status"] == "queued"
    assert not lease.renew()
    with pytest.raises(StepRefusedError):
        lease.progress(3, 4)
    claimed(live)
    assert lose(live) == 1
    failed = client.get(where).json()
    assert (failed["status"], failed["done"]) == ("failed", 2)
    assert failed["error"]["code"] == "worker_lost"
    assert "comparison" in failed["error"]["message"]
    # A worker that stops is no dead one.
    client.post(f"{where}/retry")
    claimed(live).release()
    assert client.get(where).json()["status"] == "queued"


def test_retention_deletes_old_batches_and_comparisons(
    client: TestClient, live: Context, wanted: dict[str, Any]
) -> None:
    comparison = client.post("/comparisons", json=wanted).json()["id"]
    batches = [add_batch(live, grey_zip(1)) for _ in range(3)]
    for path in (f"/comparisons/{comparison}", *(f"/batches/{each}" for each in batches[:2])):
        assert client.post(f"{path}/cancel").status_code == 202
    settings = live.settings.model_copy(update={"keep_batches_days": 7})
    keeping = replace(live, settings=settings)
    assert [each for each in collect(keeping) if each.kind.name == "RUN"] == []
    old = datetime(2020, 1, 1, tzinfo=UTC)
    with live.database.write() as session:
        session.execute(update(Comparison).values(finished_at=old))
        session.execute(update(Batch).where(Batch.id == batches[0]).values(finished_at=old))
    expected = [batches[0], comparison]
    for dry_run in (True, False):
        found = [each.name for each in collect(keeping, dry_run=dry_run) if each.kind.name == "RUN"]
        assert found == expected
    assert client.get("/comparisons").json()["data"] == []
    assert {each["id"] for each in client.get("/batches").json()["data"]} == set(batches[1:])
    kept = {file.name for file in live.storage.files()}
    assert {f"batches/{each}.zip" for each in batches[1:]} <= kept
    assert f"batches/{batches[0]}.zip" not in kept
