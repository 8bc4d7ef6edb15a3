"""Models, their data sets, and a worker for comparisons."""

from __future__ import annotations

import dataclasses
import json
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import torch
from dspt_client.schemas.status import Status
from sqlalchemy import delete

from app.comparisons.lease import ComparisonLease
from app.kit.context import Context
from app.tables.datasets import Dataset
from app.tables.jobs import Job
from app.tables.models import Model
from dspt.backbones.base import Backbone
from dspt.classifier.linear import LinearClassifier
from dspt.model.artifact import TunedModel, save_model
from tests.integration.conftest import zip_of
from tests.integration.jobs import bring_to
from tests.integration.predictions.calls import photo
from tests.unit.models import model_for
from worker.compare import Comparing
from worker.telemetry import Telemetry

METRICS = {
    "tuned": {"accuracy": 0.75},
    "blend": {"zero_shot": 0.1, "prompt": 0.1, "class_means": 3.0},
}


def compare_next(context: Context) -> bool:
    """Work on the next comparison, as a worker does: jobs and batches here are not real."""
    lease = ComparisonLease.claim_next(context, "worker")
    if lease is None:
        return False
    with Telemetry().attempt("comparison", lease.row()) as attempt:
        Comparing(lease, lease.row(), attempt).run()
    return True


@contextmanager
def working(context: Context) -> Iterator[None]:
    """A worker on a thread of this process."""
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            if not compare_next(context):
                ended.wait(0.02)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def tuned(backbone: Backbone, **changes: Any) -> TunedModel:
    """A model with a blend of class means that are none."""
    model = model_for(backbone, **({"metrics": METRICS} | changes))
    classes = len(model.manifest.classes)
    matrix = torch.randn(classes, backbone.embed_dim, generator=torch.Generator().manual_seed(1))
    return dataclasses.replace(model, blend=LinearClassifier(matrix, torch.zeros(classes)))


def hand_in(client: httpx.Client, model: TunedModel, folder: Path, name: str = "pets") -> Any:
    path = folder / "model.safetensors"
    save_model(model, path)
    response = client.post(
        "/models", files={"artifact": (path.name, path.read_bytes())}, data={"name": name}
    )
    assert response.status_code == 201, response.text
    return response.json()


def add(client: httpx.Client, model_id: str, **classes: str | None) -> Any:
    return client.post(f"/models/{model_id}/classes", json={"classes": classes})


def tuned_on(live: Context, model_id: str, dataset_id: str | None, content: bytes = b"") -> str:
    """Let the model come from a job on this data set, or on a new one of this content."""
    job_id = bring_to(live, Status.RUNNING)
    with live.database.write() as session:
        job, model = session.get_one(Job, job_id), session.get_one(Model, model_id)
        job.dataset_id = dataset_id or job.dataset_id
        model.job_id = job_id
        dataset = session.get_one(Dataset, job.dataset_id)
    if dataset_id is None:
        live.storage.put_bytes(dataset.storage_key, content)
    return dataset.id


def hold_out(live: Context, model_id: str, dataset_id: str, files: Sequence[str]) -> None:
    """Let the model come from a finished job on this data set that held these files out."""
    job_id = bring_to(live, Status.SUCCEEDED)
    with live.database.write() as session:
        session.execute(delete(Model).where(Model.job_id == job_id))
        job, model = session.get_one(Job, job_id), session.get_one(Model, model_id)
        job.dataset_id, model.job_id, key = dataset_id, job_id, job.audit_key
    assert key is not None
    entries = [{"file": file, "held_out": True} for file in files]
    live.storage.put_bytes(key, json.dumps({"entries": entries}).encode())


def labelled(*parts: str, classes: Sequence[str] = ("class 0", "class 1")) -> bytes:
    """A zip with two images of each class in each part."""
    return zip_of(
        {
            f"{part}{name}/{i}.png": photo(hash_of(part, name, i))
            for part in parts
            for name in classes
            for i in range(2)
        }
    )


def hash_of(*parts: object) -> int:
    return zlib.crc32(repr(parts).encode())


def two(
    client: httpx.Client, live: Context, backbone: Backbone, folder: Path, content: bytes
) -> tuple[str, str, str]:
    """Two models tuned on one data set, and the data set: ids."""
    a = hand_in(client, tuned(backbone), folder, "first")["id"]
    b = hand_in(client, model_for(backbone), folder, "second")["id"]
    dataset = tuned_on(live, a, None, content)
    tuned_on(live, b, dataset)
    return a, b, dataset


Compared = Callable[..., Any]
