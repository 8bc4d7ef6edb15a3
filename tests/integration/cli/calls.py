"""Commands in this process, and jobs and models for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dspt_client.schemas.status import Status

from app.kit.context import Context
from app.tables.jobs import Job
from tests.commands import invoke
from tests.integration.jobs import bring_to, claim, make_model

NO_JOB = "job_" + "0" * 26

MODEL = "mdl_" + "0" * 26

AUDIT = {
    "can_tell": True,
    "why": "it is clear",
    "suspects": 1,
    "noise_rate": {"estimate": 0.5, "low": 0.2, "high": 0.7},
    "entries": [
        {
            "file": file,
            "given": "cat",
            "suggested": "dog",
            "score": score,
            "p_tuned": 0.1,
            "p_zero_shot": 0.2,
            "suppression": 0.3,
            "suspect": score > 0.5,
        }
        for file, score in (("=cat/1.png", 0.9), ("cat/2.png", 0.1))
    ],
}

PART = {"accuracy": 0.875, "accuracy_interval": [0.5, 1], "calibration_error": 0.1, "images": 8}

METRICS = {
    "measured_on": "test",
    "served": "tuned",
    "why": "it is better",
    "tuned": PART,
    "prompt": PART,
    "zero_shot": PART | {"accuracy": 0.5},
}


def dspt(*arguments: str | Path, ends: int = 0) -> Any:
    result = invoke(arguments)
    assert result.exit_code == ends, result.output
    return result


def document(*arguments: str | Path, ends: int = 0) -> Any:
    """The one JSON document on standard output."""
    return json.loads(dspt(*arguments, "--json", ends=ends).stdout)


def done(context: Context, rejected: list[dict[str, str]] | None = None) -> str:
    """A job that has succeeded, with an audit."""
    job_id = bring_to(context, Status.QUEUED)
    lease = claim(context, job_id)
    lease.start_running(
        {"images": 2, "classes": ["cat", "dog"], "rejected": rejected or [], "split": {}}
    )
    key = f"audits/{job_id}.json"
    context.storage.put_bytes(key, json.dumps(AUDIT).encode())
    model = make_model(job_id)
    model.metrics = METRICS
    lease.succeed(model, config={}, metrics=METRICS, audit_key=key)
    return job_id


def named_job(context: Context, name: str) -> str:
    job_id = bring_to(context, Status.QUEUED)
    with context.database.write() as session:
        session.get_one(Job, job_id).name = name
    return job_id


def add_model(context: Context) -> str:
    """A classifier without a job."""
    model = make_model("")
    model.job_id, model_id = None, model.id
    with context.database.write() as session:
        session.add(model)
    return model_id
