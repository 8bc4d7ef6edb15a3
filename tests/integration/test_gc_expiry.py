"""What garbage collection deletes once it is old or its job has ended."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from dspt_client.schemas.status import Status
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from app.gc.files import TooMuchGarbageError
from app.gc.findings import Finding, Kind
from app.gc.service import collect
from app.jobs import repository
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.ids import new_id
from app.tables.datasets import Dataset
from app.tables.jobs import Job, JobEvent
from dspt.features.store import FeatureStore
from tests.integration.conftest import post_job, zip_of
from tests.integration.garbage import DAY, age, end, found, in_trash, keeping
from tests.integration.jobs import bring_to, files_in, problem, read_job, statuses


def test_expiring_most_data_sets_stops_the_collection(client: TestClient, live: Context) -> None:
    """A retention time with a digit too few."""
    for number in range(21):
        dataset = zip_of({"cat/1.png": b"%d" % number})
        answer = client.post("/jobs", files={"dataset": ("a.zip", dataset)})
        end(live, answer.json()["id"], 8 * DAY)
    week = keeping(live, keep_datasets_days=7)
    with pytest.raises(TooMuchGarbageError):
        found(week)
    assert len(files_in(live)) == 21
    assert client.get("/jobs").json()["data"][0]["dataset"]["expired_at"] is None


def test_photos_expire_when_no_job_used_them_for_long(client: TestClient, live: Context) -> None:
    job_id = post_job(client)["id"]
    week = keeping(live, keep_datasets_days=7)
    assert found(week) == []  # the job waits, however long ago it was made
    end(live, job_id, 8 * DAY)
    dataset_id = read_job(live, job_id).dataset_id
    assert found(live) == []  # by default they are kept for ever
    assert found(keeping(live, keep_datasets_days=9)) == []
    assert found(week, dry_run=True) == [(Kind.DATASET, dataset_id)]
    assert len(files_in(live)) == 1
    assert found(week) == [(Kind.DATASET, dataset_id)]
    assert found(week) == []
    assert files_in(live) == in_trash(live)
    assert len(in_trash(live)) == 1

    assert client.get(f"/jobs/{job_id}").json()["dataset"]["expired_at"] is not None
    problem(client.post(f"/jobs/{job_id}/retry"), 409, "dataset_expired")
    again = client.post("/jobs", data={"dataset_id": dataset_id})
    problem(again, 409, "dataset_expired")
    fresh = post_job(client)  # the same photos once more
    assert fresh["dataset"]["id"] != dataset_id
    assert fresh["dataset"]["expired_at"] is None
    stored = storage_keys.dataset(fresh["dataset"]["id"], corrections=False)
    assert files_in(live) - in_trash(live) == {stored}
    assert client.delete(f"/jobs/{job_id}").status_code == 204
    assert client.post(f"/jobs/{fresh['id']}/cancel").status_code == 202


def test_photos_stay_while_a_job_on_corrections_of_them_is_new(
    client: TestClient, live: Context
) -> None:
    job_id = post_job(client)["id"]
    end(live, job_id, 8 * DAY)
    dataset_id = read_job(live, job_id).dataset_id
    with live.database.write() as session:
        zip_file = session.get_one(Dataset, dataset_id)
        session.add(
            Dataset(
                id="ds_" + "0" * 26,
                owner=zip_file.owner,
                identity="child",
                sha256="0" * 64,
                size_bytes=1,
                filename="a.zip",
                created_at=datetime.now(UTC),
                parent_id=dataset_id,
                relabelled=1,
                dropped=0,
            )
        )
    assert found(keeping(live, keep_datasets_days=7)) == []


def test_events_of_ended_jobs_expire_apart_from_their_steps(context: Context) -> None:
    ended, waiting = bring_to(context, Status.QUEUED), bring_to(context, Status.RUNNING)
    with context.database.write() as session:
        for job_id in (ended, waiting):
            repository.add_event(session, job_id, "metrics", {"loss": 0.5})
    end(context, ended, 8 * DAY)
    week = keeping(context, keep_events_days=7)
    assert list(collect(week, dry_run=True)) == [Finding(Kind.EVENTS, ended, count=1)]
    assert found(week) == [(Kind.EVENTS, ended)]
    assert found(week) == []
    assert statuses(context, ended) == ["queued", "validating", "failed"]
    with context.database.read() as session:
        kept = session.scalars(select(JobEvent.job_id).where(JobEvent.type == "metrics")).all()
    assert kept == [waiting]


def test_events_of_ended_jobs_are_thinned(context: Context) -> None:
    job_id, waiting = bring_to(context, Status.QUEUED), bring_to(context, Status.RUNNING)
    stages = ["encoding"] * 60 + ["tuning"] * 60
    events = [("progress", {"stage": stage}) for stage in stages]
    events += [("metrics", {"epoch": epoch}) for epoch in range(1, 301)]
    events.insert(70, ("warning", {"message": "x"}))
    with context.database.write() as session:
        for of in (job_id, waiting):
            session.add_all(
                JobEvent(
                    job_id=of, seq=1000 + n, type=type_, data=data, created_at=datetime.now(UTC)
                )
                for n, (type_, data) in enumerate(events)
            )
    end(context, job_id, timedelta(minutes=50))
    few = keeping(context, keep_metrics_events=4)
    assert found(few) == []  # somebody may still read the end
    with context.database.write() as session:
        at = datetime.now(UTC) - timedelta(minutes=70)
        session.execute(update(Job).where(Job.id == job_id).values(finished_at=at))
    assert list(collect(few, dry_run=True)) == [Finding(Kind.THINNED, job_id, count=118 + 296)]
    assert found(few) == [(Kind.THINNED, job_id)]
    assert found(few) == []
    with context.database.read() as session:
        left = repository.events(session, job_id, after=0, limit=1000)
        assert len(repository.events(session, waiting, after=999, limit=1000)) == len(events)
    assert [e.data["epoch"] for e in left if e.type == "metrics"] == [1, 101, 200, 300]
    assert [e.data["stage"] for e in left if e.type == "progress"] == ["encoding", "tuning"]
    assert [e.type for e in left].count("warning") == 1
    assert statuses(context, job_id) == ["queued", "validating", "failed"]


def test_features_expire_unused(context: Context) -> None:
    store = FeatureStore(context.settings.feature_dir)
    store.put("b", [(name, 0, np.ones(4, np.float32)) for name in ("old", "new")])
    with store._disable_on_failure():
        store._connection().execute(
            "UPDATE features SET used_at = ? WHERE image = 'old'", (time.time() - 8 * 86400,)
        )
    week = keeping(context, keep_features_days=7)
    expected = [Finding(Kind.FEATURES, str(context.settings.feature_dir), count=1)]
    assert list(collect(week, dry_run=True)) == expected
    assert list(collect(week)) == expected
    assert list(collect(week)) == []
    assert store.get("b", "old", [0]) == {}
    assert set(store.get("b", "new", [0])) == {0}


def test_checkpoints_of_ended_jobs_go(context: Context) -> None:
    running, ended = bring_to(context, Status.RUNNING), bring_to(context, Status.CANCELLED)
    folder = context.settings.checkpoint_dir
    folder.mkdir(parents=True)
    kept = folder / f"{running}.safetensors"
    gone = [folder / f"{ended}.safetensors", folder / f".{ended}.safetensors.0a1b"]
    for path in (kept, *gone):
        path.write_bytes(b"x")
    assert sorted(found(context)) == sorted((Kind.CHECKPOINT, str(path)) for path in gone)
    assert list(folder.iterdir()) == [kept]


def test_stored_checkpoints_of_ended_jobs_are_deleted(context: Context) -> None:
    running, ended = bring_to(context, Status.RUNNING), bring_to(context, Status.CANCELLED)
    kept, gone = (storage_keys.checkpoint(each) for each in (running, ended))
    for key in (kept, gone):
        context.storage.put_bytes(key, b"x")
    before = files_in(context)
    assert found(context, dry_run=True, grace=3600) == [(Kind.CHECKPOINT, gone)]
    assert found(context, grace=3600) == [(Kind.CHECKPOINT, gone)]
    assert files_in(context) == before - {gone}  # and none is in the trash


def test_stored_features_go_when_they_are_old_and_with_their_data_set(
    client: TestClient, live: Context
) -> None:
    dataset_id = post_job(client)["dataset"]["id"]
    name = f"{'0' * 64}.safetensors"
    old, new = (f"{storage_keys.features(dataset_id)}/{n}{name[1:]}" for n in (0, 1))
    gone = f"{storage_keys.features(new_id('ds'))}/{name}"
    foreign = f"features/{dataset_id}/notes.txt"
    for key in (old, new, gone, foreign):
        live.storage.put_bytes(key, b"x")
    age(live, old)
    before = files_in(live)
    assert found(live) == [(Kind.FEATURES, gone)]
    hour = keeping(live, keep_features_days=1 / 24)
    assert found(hour) == [(Kind.FEATURES, old)]
    assert files_in(live) == before - {old, gone}  # and none is in the trash


@pytest.mark.parametrize("content", ["of a job", ""])
def test_the_scratch_of_a_dead_worker_goes(context: Context, content: str) -> None:
    root = context.settings.scratch_dir
    script = (
        "import sys, tempfile; from pathlib import Path; from app.kit.scratch import make_scratch;"
        "make_scratch(Path(sys.argv[1])); Path(tempfile.mkstemp()[1]).write_text(sys.argv[2]);"
        "print('ready', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(root), content],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        (folder,) = root.iterdir()
        assert len(list(folder.iterdir())) == 2  # its lock, and a file
        assert found(context) == []
        process.kill()
        process.wait()
    # A folder without a byte is no finding.
    assert found(context) == [(Kind.SCRATCH, str(folder))] * bool(content)
    assert list(root.iterdir()) == []
