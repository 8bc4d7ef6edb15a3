"""Finished jobs with an audit, without a worker, and corrections of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi.testclient import TestClient

from app.datasets import repository as datasets
from app.datasets import service as dataset_service
from app.kit.context import Context
from dspt.labels.corrections import Corrections
from tests.integration.conftest import post_job
from tests.integration.jobs import claim, make_model, read_job

GIVEN = {f"{name}/{i}.png": name for name in ("cat", "dog") for i in range(4)}


def finish(context: Context, job_id: str, given: Mapping[str, str] = GIVEN) -> None:
    """Let the job succeed with an audit of these files."""
    lease = claim(context, job_id)
    classes = sorted(set(given.values()))
    lease.start_running({"sha256": "f" * 64, "images": len(given), "classes": classes})
    model = make_model(job_id)
    entry = {"score": 0.5, "p_tuned": 0.5, "p_zero_shot": 0.5, "suppression": 0.5, "suspect": True}
    entries = [
        {"file": file, "given": name, "suggested": "dog" if name == "cat" else "cat"} | entry
        for file, name in given.items()
    ]
    audit = {"can_tell": True, "why": "", "suspects": len(entries), "entries": entries}
    audit_key = f"audits/{model.id}.json"
    context.storage.put_bytes(audit_key, json.dumps(audit).encode())
    resolved = read_job(context, job_id).config | {"lr": 0.05, "n_ctx": 4, "device": "cuda"}
    lease.succeed(model, config=resolved, metrics={}, audit_key=audit_key)


def finished(client: TestClient, live: Context, **fields: Any) -> dict[str, Any]:
    job_id = post_job(client, **fields)["id"]
    finish(live, job_id)
    job: dict[str, Any] = client.get(f"/jobs/{job_id}").json()
    return job


def correct(client: TestClient, job: Mapping[str, Any], **body: Any) -> dict[str, Any]:
    response = client.post(f"/jobs/{job['id']}/corrections", json=body)
    assert response.status_code == 202, response.text
    new: dict[str, Any] = response.json()
    return new


def corrections_of(context: Context, job: Mapping[str, Any]) -> Corrections:
    """What a worker is to correct."""
    with context.database.read() as session:
        dataset = datasets.get(session, job["dataset"]["id"])
    assert dataset is not None
    return dataset_service.corrections_of(context, dataset)
