"""What is deleted because nobody needs it, and what never is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch
from dspt_client.schemas.status import Status
from fastapi.testclient import TestClient
from sqlalchemy import select, update
from typer.testing import CliRunner

from app.gc.findings import Finding, Kind
from app.gc.service import collect
from app.jobs import repository
from app.kit.context import Context
from app.tables.datasets import Dataset
from app.tables.jobs import Job, JobEvent
from dspt.cli import build
from dspt.features.store import FeatureStore
from tests.integration.conftest import post_job, zip_of
from tests.integration.jobs import bring_to, claim, files_in, problem, read_job, statuses

DAY = timedelta(days=1)


def keeping(context: Context, **days: float) -> Context:
    """The same, with other settings."""
    settings = context.settings.model_copy(update=days)
    return Context(settings, context.database, context.storage)


def found(context: Context, *, dry_run: bool = False, grace: float = 0) -> list[tuple[Kind, str]]:
    findings = collect(context, dry_run=dry_run, grace_seconds=grace)
    return [(finding.kind, finding.name) for finding in findings]


def end(context: Context, job_id: str, ago: timedelta) -> None:
    """Fail the job, and shift its end into the past."""
    claim(context, job_id).fail({"code": "x", "message": "y", "param": None, "problems": []})
    with context.database.write() as session:
        at = datetime.now(UTC) - ago
        session.execute(update(Job).where(Job.id == job_id).values(finished_at=at, created_at=at))
        session.execute(update(Dataset).values(created_at=at))


def test_files_without_a_row_go_and_files_with_one_stay(client: TestClient, live: Context) -> None:
    job = post_job(client)
    kept = files_in(live)
    assert len(kept) == 1
    for key in ("datasets/ds_x.zip", "models/mdl_x.safetensors", "audits/a.json", "checks/1"):
        live.storage.put_bytes(key, b"x")
    part = Path(live.storage.url.removeprefix("file://")) / "datasets" / ".ds_y.zip.0a1b"
    part.write_bytes(b"half")  # as a killed writer leaves it
    everything = files_in(live)
    expected = {(Kind.ORPHAN, name) for name in everything - kept}
    assert len(expected) == 5
    assert found(live, grace=60) == []
    assert set(found(live, dry_run=True)) == expected
    assert files_in(live) == everything
    assert set(found(live)) == expected
    assert files_in(live) == kept
    assert found(live) == []
    assert client.get(f"/jobs/{job['id']}").status_code == 200


def test_an_audit_and_a_model_in_use_stay(context: Context) -> None:
    bring_to(context, Status.SUCCEEDED)
    with context.database.read() as session:
        audit_key = session.scalar(select(Job.audit_key))
    assert audit_key is not None
    context.storage.put_bytes(audit_key, b"{}")
    assert found(context) == []


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
    assert files_in(live) == set()

    assert client.get(f"/jobs/{job_id}").json()["dataset"]["expired_at"] is not None
    problem(client.post(f"/jobs/{job_id}/retry"), 409, "dataset_expired")
    again = client.post("/jobs", data={"dataset_id": dataset_id})
    problem(again, 409, "dataset_expired")
    fresh = post_job(client)  # the same photos once more
    assert fresh["dataset"]["id"] != dataset_id
    assert fresh["dataset"]["expired_at"] is None
    assert files_in(live) == {f"datasets/{fresh['dataset']['id']}.zip"}
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


def test_features_expire_unused(context: Context) -> None:
    store = FeatureStore(context.settings.feature_dir)
    store.put("b", [("old", 0, torch.ones(4)), ("new", 0, torch.ones(4))])
    with store._giving_up_on_failure():
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


def test_the_scratch_of_a_dead_worker_goes(context: Context) -> None:
    root = context.settings.scratch_dir
    script = (
        "import sys, tempfile; from pathlib import Path; from app.kit.scratch import make_scratch;"
        "make_scratch(Path(sys.argv[1])); tempfile.mkstemp(); print('ready', flush=True);"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        (folder,) = root.iterdir()
        assert len(list(folder.iterdir())) == 2  # its lock, and a file of a job
        assert found(context) == []
        process.kill()
        process.wait()
    assert found(context) == [(Kind.SCRATCH, str(folder))]
    assert list(root.iterdir()) == []


@pytest.fixture
def environment(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPT_DATA_DIR", str(context.settings.data_dir))
    monkeypatch.setenv("DSPT_DATABASE_URL", context.settings.database_url)


@pytest.mark.usefixtures("environment")
def test_the_command_says_what_it_would_delete_and_then_deletes_it(context: Context) -> None:
    context.storage.put_bytes("models/mdl_x.safetensors", b"x" * 1500)
    old = time.time() - 7200
    path = Path(context.storage.url.removeprefix("file://")) / "models" / "mdl_x.safetensors"
    os.utime(path, (old, old))

    def gc(*arguments: str) -> str:
        result = CliRunner().invoke(build(), ["gc", *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    assert gc("--grace", "9000") == "Nothing to delete.\n"
    dry = gc("--dry-run")
    assert "orphaned file" in dry
    assert "models/mdl_x.safetensors" in dry
    assert "Would delete 1 item (1.5 kB)." in dry
    assert path.exists()
    assert gc("--json") == (
        '{"kind": "orphaned file", "name": "models/mdl_x.safetensors", "count": 1, '
        '"size_bytes": 1500}\n'
    )
    assert not path.exists()


def test_a_zip_that_is_uploaded_while_files_are_swept_stays(
    client: TestClient, live: Context
) -> None:
    """The row comes after the file: what is too young for its row is not looked at."""
    body = zip_of({"cat/1.png": b"not looked at"})
    assert client.post("/jobs", files={"dataset": ("a.zip", body)}).status_code == 202
    live.storage.put_bytes("datasets/ds_young.zip", body)
    assert found(live, grace=60) == []
    assert len(files_in(live)) == 2
