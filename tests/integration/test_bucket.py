"""The service with its files in a bucket of a real S3 server, and no folder that is shared."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.kit import storage_keys
from tests.integration.conftest import MigratedDatabase, context_of, settings_for
from tests.integration.databases import on_postgres
from tests.integration.stack import Stack, photos
from tests.s3_server import S3Server
from tests.services import children_of, free_port, redis_server, uses_obstore, wait_until
from tests.warm import Forked, Warm

pytestmark = pytest.mark.slow

#: An epoch takes much longer than it takes to see that one has been completed.
EPOCHS = {"epochs": 4, "batch_size": 4}


@pytest.fixture
def stack(
    migrated: MigratedDatabase, s3: S3Server, tmp_path: Path, warm_start: Warm
) -> Iterator[Stack]:
    with migrated(tmp_path / "data") as url, redis_server() as broker:
        update = {
            "broker_url": broker.url,
            "storage_url": s3.new_url(),
            "s3_endpoint": s3.endpoint,
            "housekeeping_seconds": 0.2,
        }
        settings = settings_for(url, tmp_path / "data").model_copy(update=update)
        stack = Stack(settings, tmp_path / "worker.log", warm_start)
        with stack.client:
            yield stack


@contextmanager
def machine(stack: Stack, folder: Path, **settings: Any) -> Iterator[Forked | Popen[bytes]]:
    """A worker that shares no folder with the API, nor with another worker."""
    with stack.worker(data_dir=folder, heartbeat_seconds=1, **settings) as worker:
        yield worker


def views(port: int) -> dict[str, float]:
    """How many views a worker took from where, once its job has ended."""

    def figures() -> dict[tuple[str, ...], float]:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    wait_until(lambda: figures()["dspt_worker_jobs_total", "succeeded"] == 1, 120, "the figures")
    return {
        source: figures()["dspt_worker_views_total", source]
        for source in ("tower", "store", "storage")
    }


def result_of(stack: Stack, job: dict[str, Any]) -> tuple[bytes, Any, Any]:
    """The tensors of the model, the audit and the history: all that must be the same."""
    artifact = stack.client.get(job["links"]["artifact"]).content
    tensors = artifact[8 + int.from_bytes(artifact[:8], "little") :]
    audit = stack.client.get(f"/jobs/{job['id']}/audit").json()["entries"]
    return tensors, audit, job["metrics"]["history"]


def succeeded(job: dict[str, Any]) -> bool:
    return bool(job["status"] == "succeeded")


@on_postgres
def test_photos_are_encoded_by_one_machine_only(stack: Stack, s3: S3Server, tmp_path: Path) -> None:
    storage = context_of(stack.client).storage
    one, other = free_port(), free_port()
    first_id = stack.post(photos(), epochs=2, augment_views=1)  # two views of each photo
    with machine(stack, tmp_path / "one", worker_metrics_port=one):
        first = stack.wait(first_id, succeeded)
        assert views(one) == {"tower": 24, "store": 0, "storage": 0}
    before = s3.requests()
    body = {"relabel": {"red/0.png": "blue"}}
    second_id = stack.client.post(f"/jobs/{first_id}/corrections", json=body).json()["id"]
    with machine(stack, tmp_path / "other", worker_metrics_port=other):
        second = stack.wait(second_id, succeeded)
        assert views(other) == {"tower": 0, "store": 0, "storage": 24}
    assert s3.requests() - before <= 20
    for job in (second, first):
        kept = any(storage_keys.dataset_of(file.name) for file in storage.files())
        assert kept
        assert stack.client.delete(f"/jobs/{job['id']}").status_code == 204
    assert not any(storage_keys.dataset_of(file.name) for file in storage.files())


@on_postgres
def test_a_job_of_a_killed_machine_goes_on_elsewhere_to_the_same_bits(
    stack: Stack, tmp_path: Path
) -> None:
    storage = context_of(stack.client).storage
    job_id = stack.post(photos(), **EPOCHS)
    dies = "tests.integration.short_lived_machine"
    with machine(stack, tmp_path / "one", checkpoint_seconds=0.01, module=dies) as worker:
        assert worker.wait(300) == -signal.SIGKILL
    assert [file.name for file in storage.files("checkpoints")] == [storage_keys.checkpoint(job_id)]
    with machine(stack, tmp_path / "other"):
        job = stack.wait(job_id, succeeded)
        undisturbed = stack.wait(stack.post(photos(), **EPOCHS), succeeded)
    assert stack.statuses(job_id).count("validating") == 2
    events = stack.client.get(f"/jobs/{job_id}/events?limit=1000").json()["data"]
    claims = [n for n, e in enumerate(events) if e["data"].get("status") == "validating"]
    epochs = [e["data"]["epoch"] for e in events[claims[1] :] if e["type"] == "metrics"]
    assert epochs[0] > 1
    assert result_of(stack, job) == result_of(stack, undisturbed)
    assert list(storage.files("checkpoints")) == []


@on_postgres
def test_the_main_path(stack: Stack, s3: S3Server) -> None:
    before = s3.requests()
    job_id = stack.post(photos(), epochs=2)
    with stack.worker() as worker:
        job = stack.wait(job_id, lambda job: job["status"] == "succeeded")
        assert s3.requests() - before <= 20
        assert not uses_obstore(worker.pid)  # it would hang in the processes forked from it
        assert [uses_obstore(child) for child in children_of(worker.pid)] == [True]
    model_id = job["model_id"]
    files = [("images", (name, data)) for name, data in list(photos().items())[:3]]
    predicted = stack.client.post("/predict", data={"model": model_id}, files=files)
    assert predicted.status_code == 200, predicted.text
    labels = [each["top"][0]["label"] for each in predicted.json()["predictions"]]
    assert labels == ["red"] * 3
    dataset_id = job["dataset"]["id"]
    assert len(stack.client.get(f"/jobs/{job_id}/audit").json()["entries"]) == 12
    picture = stack.client.get(f"/datasets/{dataset_id}/images/0?size=192")
    assert picture.headers["content-type"] == "image/jpeg"
    assert stack.client.get(f"/models/{model_id}/artifact").status_code == 200
    assert stack.client.get("/health/ready").json()["checks"]["storage"]["status"] == "ok"
    stored = {file.name for file in context_of(stack.client).storage.files()}
    features = {name for name in stored if storage_keys.dataset_of(name) == dataset_id}
    assert len(features) == 1
    assert stored - features == {
        storage_keys.INSTALLATION,
        storage_keys.dataset(dataset_id, corrections=False),
        storage_keys.model(model_id),
        storage_keys.audit(model_id),
        storage_keys.predictions(model_id),
    }
