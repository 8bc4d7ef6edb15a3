"""The service with its files in a bucket of a real S3 server, and no folder that is shared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.kit import storage_keys
from tests.integration.conftest import MigratedDatabase, context_of, settings_for
from tests.integration.stack import Stack, photos
from tests.s3_server import S3Server
from tests.services import children_of, redis_server
from tests.warm import Warm

pytestmark = pytest.mark.slow


@pytest.fixture
def stack(
    migrated: MigratedDatabase, s3: S3Server, tmp_path: Path, warm_start: Warm
) -> Iterator[Stack]:
    with migrated(tmp_path / "data") as url, redis_server() as broker:
        update = {"broker_url": broker.url, "storage_url": s3.new_url(), "s3_endpoint": s3.endpoint}
        settings = settings_for(url, tmp_path / "data").model_copy(update=update)
        stack = Stack(settings, tmp_path / "worker.log", warm_start)
        with stack.client:
            yield stack


def uses_obstore(pid: int) -> bool:
    return "_obstore" in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.parametrize("migrated", ["postgresql"], indirect=True)
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
    assert stored == {
        storage_keys.INSTALLATION,
        storage_keys.dataset(dataset_id, corrections=False),
        storage_keys.model(model_id),
        storage_keys.audit(model_id),
        storage_keys.predictions(model_id),
    }
