"""A real worker process on a real Redis: done, failed, cancelled, killed.

What is done to a job at work is done on one database here and on the other one in test_drills.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis as redis_client
from dspt_client.schemas.jobs import JobProgress, StatusData
from dspt_client.schemas.metrics import EpochMetrics, TuningMetrics, WarningData
from prometheus_client.parser import text_string_to_metric_families
from pydantic import TypeAdapter
from safetensors import safe_open

from app.kit.context import Context
from app.kit.pools import DEFAULT_POOL, queue_of
from app.kit.settings import Settings
from app.tables.jobs import Job
from tests.integration.databases import on_postgres, on_sqlite
from tests.integration.stack import Stack, photos
from tests.services import children_of, free_port, wait_until
from tests.warm import Forked

pytestmark = pytest.mark.slow


def child_of(process: Forked | subprocess.Popen[bytes]) -> int:
    """The forked process that runs the jobs."""
    [child] = children_of(process.pid)
    return child


def next_child(process: Forked | subprocess.Popen[bytes], old: int) -> int:
    """The forked process that follows `old`."""
    wait_until(lambda: set(children_of(process.pid)) - {old}, 120, "another process")
    wait_until(lambda: old not in children_of(process.pid), 120, "the end of the first one")
    return child_of(process)


def has_torch(pid: int) -> bool:
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text()


def rested(stack: Stack) -> bool:
    return any(line["event"].startswith("resting") for line in stack.log_lines())


LONG = {"epochs": 1000, "batch_size": 1}


def tuning(job: dict[str, Any]) -> bool:
    return bool(job["progress"]["stage"] == "tuning")


def before_the_first_epoch(attempt: int, job: dict[str, Any]) -> bool:
    return job["status"] in ("validating", "running") and bool(job["attempt"] == attempt)


@on_postgres  # tests/acceptance does the same on SQLite
def test_jobs_that_succeed_and_fail(stack: Stack) -> None:
    # No worker has this device, and a client must not choose one.
    good = stack.post(photos(), epochs=2, device="cuda:7")
    one_class = {name: data for name, data in photos().items() if name.startswith("red/")}
    bad_data = stack.post(one_class, epochs=2)
    bad_backbone = stack.post(photos(), epochs=2, backbone="ViT-B-32-quickgelu/laion2b_e16")
    assert "no worker is running" in stack.job(good)["progress"]["message"]
    assert stack.client.post(f"/jobs/{good}/cancel").json()["status"] == "cancelled"
    assert stack.client.post(f"/jobs/{good}/retry").json()["status"] == "queued"

    with stack.worker():
        job = stack.wait(good, lambda job: job["status"] == "succeeded")
        assert job["attempt"] == 1
        assert job["dataset"]["classes"] == ["blue", "red"]
        assert job["dataset"]["images"] == 12
        assert job["config"]["epochs"] == 2
        assert job["config"]["n_ctx"] == 4
        assert job["config"]["device"] in ("cpu", "cuda", "cuda:0")
        assert any("`device` was ignored" in warning for warning in job["warnings"])
        TypeAdapter(TuningMetrics).validate_python(job["metrics"], extra="forbid")
        steps = ["queued", "cancelled", "queued", "validating", "running", "succeeded"]
        assert stack.statuses(good) == steps
        events = stack.client.get(f"/jobs/{good}/events?limit=1000").json()["data"]
        data_of: dict[str, Any] = {
            "status": StatusData,
            "progress": JobProgress,
            "metrics": EpochMetrics,
            "warning": WarningData,
        }
        for event in events:
            schema = TypeAdapter(data_of[event["type"]])
            schema.validate_python(event["data"], extra="forbid")
        epochs = [event["data"]["epoch"] for event in events if event["type"] == "metrics"]
        assert epochs == [1, 2]
        stages = [e["data"]["stage"] for e in events if e["type"] == "progress"]
        assert list(dict.fromkeys(stages)) == [
            "validating",
            "encoding",
            "zero_shot",
            "tuning",
            "evaluating",
            "saving",
        ]
        audit = stack.client.get(f"/jobs/{good}/audit").json()
        assert {entry["given"] for entry in audit["entries"]} == {"red", "blue"}
        artifact = stack.client.get(job["links"]["artifact"]).content
        path = Path(stack.settings.data_dir) / "downloaded.safetensors"
        path.write_bytes(artifact)
        with safe_open(path, framework="np") as file:
            assert json.loads(file.metadata()["manifest"])["classes"] == ["blue", "red"]

        job = stack.wait(bad_data, lambda job: job["status"] == "failed")
        assert job["error"]["problems"]
        assert stack.statuses(bad_data) == ["queued", "validating", "failed"]

        job = stack.wait(bad_backbone, lambda job: job["status"] == "failed")
        assert job["error"]["code"] == "unknown_backbone"
        assert "trained with GELU" in job["error"]["message"]
        before = stack.statuses(bad_backbone)
        again = stack.client.post(job["links"]["retry"]).json()
        assert (again["status"], again["error"], again["attempt"]) == ("queued", None, 0)
        job = stack.wait(bad_backbone, lambda job: job["status"] == "failed")
        assert (job["error"]["code"], job["attempt"]) == ("unknown_backbone", 1)
        assert stack.statuses(bad_backbone) == before * 2


@on_sqlite
def test_torch_is_in_memory_only_where_and_while_it_is_needed(stack: Stack) -> None:
    """Never in the parent, because CUDA would not survive the fork."""
    stack.settings = Settings(
        **stack.settings.model_dump(exclude_unset=True) | {"worker_rest_seconds": 0.1}
    )

    def ready() -> bool:
        return any(line["event"].endswith("ready.") for line in stack.log_lines())

    with stack.worker(cold=True) as process:
        # Before, a process of its own looks at the storage.
        wait_until(ready, 120, "the forked process")
        first = child_of(process)
        assert not has_torch(first)
        job_id = stack.post(photos(), **LONG)
        stack.wait(job_id, tuning)
        assert has_torch(first)
        assert "libtriton" not in Path(f"/proc/{first}/maps").read_text()  # of torch's compiler
        stack.client.post(f"/jobs/{job_id}/cancel")
        second = next_child(process, first)
        assert rested(stack)
        assert not has_torch(second)
        assert not has_torch(process.pid)


@on_postgres
def test_cancel_a_job_at_work(stack: Stack) -> None:
    stack.settings = Settings(
        **stack.settings.model_dump(exclude_unset=True) | {"worker_jobs_per_process": 2}
    )
    job_id = stack.post(photos(), **LONG)
    with stack.worker() as process:
        stack.wait(job_id, tuning)
        first = child_of(process)
        assert stack.client.post(f"/jobs/{job_id}/cancel").json()["status"] == "cancelling"
        stack.wait(job_id, lambda job: job["status"] == "cancelled")
        assert stack.statuses(job_id)[-2:] == ["cancelling", "cancelled"]
        # The worker is free for the next one, after which its process has run enough jobs.
        stack.wait(stack.post(photos(), epochs=1), lambda job: job["status"] == "succeeded")
        next_child(process, first)
        assert not rested(stack)
    assert stack.client.get("/models").json()["data"][0]["config"]["epochs"] == 1
    assert len(stack.client.get("/models").json()["data"]) == 1


@on_sqlite
def test_a_stopped_worker_gives_its_job_back(stack: Stack) -> None:
    job_id = stack.post(photos(), **LONG)
    with stack.worker() as process:
        stack.wait(job_id, tuning)
        process.send_signal(signal.SIGINT)  # as Ctrl-C does
        assert process.wait(120) == 0
    job = stack.job(job_id)
    assert (job["status"], job["attempt"]) == ("queued", 0)
    assert "no worker is running" in job["progress"]["message"]
    with stack.worker():
        job = stack.wait(job_id, tuning)
        assert job["attempt"] == 1
        stack.client.post(f"/jobs/{job_id}/cancel")
        stack.wait(job_id, lambda job: job["status"] == "cancelled")


@on_sqlite
def test_a_job_that_kills_its_worker_fails_in_the_end(stack: Stack) -> None:
    port = free_port()
    stack.settings = Settings(
        **stack.settings.model_dump(exclude_unset=True) | {"worker_metrics_port": port}
    )
    many = photos(per_class=60)  # so many that it dies before an epoch, which would be progress
    job_id = stack.post(many, **LONG)
    with stack.worker() as process:
        for attempt in (1, 2):
            stack.wait(job_id, partial(before_the_first_epoch, attempt))
            wait_until(
                lambda attempt=attempt: counted(port)["dspt_worker_attempts_total"] == attempt,
                120,
                "the count of attempts",
            )
            os.kill(child_of(process), signal.SIGKILL)
        job = stack.wait(job_id, lambda job: job["status"] == "failed")
        assert job["error"]["code"] == "worker_lost"
        assert process.poll() is None  # the parent has forked a new one each time
        good = stack.post(photos(), epochs=2)
        done = stack.wait(good, lambda job: job["status"] == "succeeded")
        batch, comparison = of_a_model(stack, done)
        wait_until(lambda: counted(port)["dspt_worker_busy"] == 0, 120, "the last figure")
        figures = counted(port)
    assert (batch["done"], batch["images"], batch["unreadable"]) == (12, 12, 0)
    lines = stack.client.get(batch["links"]["results"]).text.splitlines()
    labels = {line["file"]: line["label"] for line in map(json.loads, lines)}
    assert sorted(labels) == sorted(photos())
    assert set(labels.values()) <= {"red", "blue"}
    result = comparison["result"]
    assert (result["difference"], result["a"]["right"]) == (0, result["b"]["right"])
    right = sum(file.startswith(f"{label}/") for file, label in labels.items())
    assert result["part"] == "held_out" or result["a"]["right"] == right
    for name, images in (("batches", 12), ("comparisons", result["images"])):
        assert figures[f"dspt_worker_{name}_total", "succeeded"] == 1
        assert figures[f"dspt_worker_{name}_total", "failed"] == 0
        assert images > 0
    assert figures["dspt_worker_images_total"] == 12 + result["images"]
    assert figures["dspt_worker_attempts_total"] == 5
    assert figures["dspt_worker_jobs_total", "killed"] == 2
    assert figures["dspt_worker_jobs_total", "succeeded"] == 1
    assert figures["dspt_worker_jobs_total", "failed"] == 0
    for stage in ("validating", "encoding", "zero_shot", "saving"):
        assert figures["dspt_worker_stage_seconds_count", stage] >= 1
    assert figures["dspt_worker_epoch_seconds_count"] >= 2
    assert figures["dspt_worker_views_total", "tower"] >= len(photos())
    assert 0 <= figures["dspt_worker_suppressed_share"] <= 1
    assert figures["process_resident_memory_bytes"] > 100e6  # of the process that has torch
    check_log(stack, {job_id: [1, 2], good: [1]})


def of_a_model(stack: Stack, job: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A batch and a comparison with the model of a job, on its photos, once they are done."""
    model, dataset = job["model_id"], job["dataset"]["id"]
    started = [
        stack.client.post("/batches", data={"model": model, "dataset_id": dataset}),
        stack.client.post("/comparisons", json={"a": model, "b": model}),
    ]
    for response in started:
        assert response.status_code == 202, response.text

    def current(response: httpx.Response) -> dict[str, Any]:
        found: dict[str, Any] = stack.client.get(response.json()["links"]["self"]).json()
        assert found["status"] != "failed", f"{found}\n{stack.log()}"
        return found

    wait_until(
        lambda: all(current(each)["status"] == "succeeded" for each in started),
        300,
        "a batch and a comparison",
        pause=0.05,
    )
    batch, comparison = map(current, started)
    return batch, comparison


def counted(port: int) -> dict[str | tuple[str, ...], float]:
    """What a worker shows: value by name, and by name and values of the labels."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    return {
        (sample.name, *sample.labels.values()) if sample.labels else sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def check_log(stack: Stack, attempts: dict[str, list[int]]) -> None:
    """Each line about a job names it, and those of its process the request and the attempt."""
    lines = stack.log_lines()
    context: Context = stack.client.app.state.context  # type: ignore[attr-defined]
    with context.database.read() as session:
        requests = {job_id: session.get_one(Job, job_id).request_id for job_id in attempts}
    assert len(set(requests.values())) == len(attempts)
    for job_id, expected in attempts.items():
        mine = [line for line in lines if line.get("job_id") == job_id]
        own = [line for line in mine if line["logger"].startswith("worker.")]
        assert {line["request_id"] for line in own if line["attempt"]} == {requests[job_id]}
        assert sorted({line["attempt"] for line in own if line["attempt"]}) == expected
    tasks = [line for line in lines if "Task worker.run_job" in line["event"]]
    assert tasks
    assert not any("data" in line for line in tasks)


@on_postgres
def test_a_lost_message_delays_no_job(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message of the oldest job is lost, as with a worker that dies with it in its hands."""
    monkeypatch.setattr("app.jobs.lifecycle.outbox.LOST_SECONDS", 1.0)
    jobs = sorted(stack.post(photos(), epochs=1) for _ in range(3))
    with redis_client.Redis.from_url(stack.settings.broker_url) as broker:
        wait_until(lambda: broker.llen(queue_of(DEFAULT_POOL)) == 3, 60, "the messages")
        oldest = broker.rpop(queue_of(DEFAULT_POOL))
    assert jobs[0].encode() in oldest
    with stack.worker():
        ended = [stack.wait(job, lambda job: job["status"] == "succeeded") for job in jobs]
    started = [job["started_at"] for job in ended]
    assert started == sorted(started)


@on_sqlite
def test_a_job_over_its_time_limit_fails(stack: Stack) -> None:
    stack.settings = Settings(
        **stack.settings.model_dump(exclude_unset=True) | {"job_time_limit_seconds": 1.5}
    )
    job_id = stack.post(photos(), **LONG)
    with stack.worker():
        job = stack.wait(job_id, lambda job: job["status"] == "failed")
    assert job["error"]["code"] == "time_limit"
    assert "1.5 seconds" in job["error"]["message"]
