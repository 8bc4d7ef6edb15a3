"""What garbage collection deletes, and what it never deletes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from dspt_client.schemas.status import Status
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from app.gc.collector import Collector
from app.gc.files import TooMuchGarbageError, move_limit
from app.gc.findings import Finding, Kind
from app.gc.service import collect
from app.jobs import repository
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.ids import new_id
from app.tables.datasets import Dataset
from app.tables.jobs import Job, JobEvent
from dspt.features.store import FeatureStore
from tests.commands import invoke
from tests.integration.conftest import post_job, zip_of
from tests.integration.jobs import bring_to, claim, files_in, problem, read_job, statuses
from tests.services import wait_until

DAY = timedelta(days=1)
KEY = storage_keys.model(new_id("mdl"))


def own_keys() -> list[str]:
    """One key of each shape."""
    return [
        storage_keys.dataset(new_id("ds"), corrections=False),
        storage_keys.dataset(new_id("ds"), corrections=True),
        storage_keys.model(new_id("mdl")),
        storage_keys.audit(new_id("mdl")),
        storage_keys.capture(new_id("prd")),
        storage_keys.check(),
    ]


def root_of(context: Context) -> Path:
    return Path(context.storage.url.removeprefix("file://"))


def in_trash(context: Context) -> set[str]:
    return {name for name in files_in(context) if name.startswith("trash/")}


def age(context: Context, key: str) -> None:
    """Make a stored file two hours old."""
    old = time.time() - 7200
    os.utime(root_of(context) / key, (old, old))


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
    for key in own_keys():
        live.storage.put_bytes(key, b"x")
    part = root_of(live) / "datasets" / storage_keys.part(f"{new_id('ds')}.zip")
    part.write_bytes(b"half")  # as a killed writer leaves it
    everything = files_in(live)
    expected = {(Kind.ORPHAN, name) for name in everything - kept}
    assert len(expected) == 7
    assert found(live, grace=60) == []
    assert set(found(live, dry_run=True)) == expected
    assert files_in(live) == everything
    assert set(found(live)) == expected
    assert files_in(live) - in_trash(live) == kept
    trashed = [storage_keys.trashed(name) for name in in_trash(live)]
    assert {file.name for file in trashed if file is not None} == everything - kept
    assert found(live) == []
    assert client.get(f"/jobs/{job['id']}").status_code == 200


def test_files_that_the_service_did_not_write_stay(context: Context) -> None:
    """A storage URL may point at a folder with other files."""
    foreign = {
        "holiday/thesis.docx",
        "notes.txt",
        "datasets/photos.zip",
        "datasets/ds_x.zip",
        f"datasets/{new_id('ds')}.zip.bak",
        f"datasets/more/{new_id('ds')}.zip",
        f"models/{new_id('ds')}.safetensors",
        "models/production.safetensors",
        ".cache/pip.0a1b2c3d",
        f"trash/2020-01-01/{new_id('ds')}.zip",
        f"trash/last year/datasets/{new_id('ds')}.zip",
        "trash/2020-01-01/notes.txt",
    }
    for name in foreign:
        path = root_of(context) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    assert list(collect(context, force=True, grace_seconds=0)) == []
    assert files_in(context) == foreign


def test_trash_is_deleted_after_its_days(context: Context) -> None:
    today = datetime.now(UTC).date()
    kept, gone = (storage_keys.trash(key, today - n * DAY) for n, key in ((7, KEY), (8, KEY)))
    for name in (kept, gone):
        context.storage.put_bytes(name, b"x")
    assert found(context, dry_run=True) == [(Kind.TRASH, gone)]
    assert found(context) == [(Kind.TRASH, gone)]
    assert files_in(context) == {kept}
    assert found(keeping(context, trash_days=6)) == [(Kind.TRASH, kept)]


def test_a_file_in_the_trash_comes_back_once_its_row_does(context: Context) -> None:
    job_id = bring_to(context, Status.SUCCEEDED)
    with context.database.read() as session:
        audit_key = session.scalar(select(Job.audit_key).where(Job.id == job_id))
    assert audit_key is not None
    long_ago = storage_keys.trash(audit_key, date(2020, 1, 1))
    context.storage.put_bytes(long_ago, b"{}")
    assert found(context, dry_run=True) == [(Kind.NEEDED, audit_key)]
    assert found(context) == [(Kind.NEEDED, audit_key)]
    assert files_in(context) == {audit_key}
    context.storage.put_bytes(long_ago, b"an older copy")
    assert found(context) == []  # neither replaces the file nor deletes a copy that is needed


def test_too_many_files_stop_the_collection_until_it_is_forced(context: Context) -> None:
    for _ in range(21):
        context.storage.put_bytes(storage_keys.model(new_id("mdl")), b"x")
    before = files_in(context)
    with pytest.raises(TooMuchGarbageError, match=r"21 of 21 stored .* `dspt gc --force`"):
        list(collect(context, grace_seconds=0))
    assert files_in(context) == before
    assert len(found(context, dry_run=True)) == 21
    assert len(list(collect(context, force=True, grace_seconds=0))) == 21
    assert files_in(context) == in_trash(context)


@pytest.mark.parametrize(
    ("stored", "limit"), [(0, 20), (200, 20), (999, 99), (10_000, 1000), (10**6, 1000)]
)
def test_a_tenth_of_the_files_or_a_thousand_may_go_at_once(stored: int, limit: int) -> None:
    assert move_limit(stored) == limit


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


def test_the_first_round_after_a_start_collects_nothing(context: Context) -> None:
    context.storage.put_bytes(KEY, b"x")
    age(context, KEY)
    collector = Collector(keeping(context, gc_seconds=0.01))
    rounds: list[bool] = []
    work = collector.loop._work

    def one() -> None:
        work()
        rounds.append(KEY in files_in(context))

    collector.loop._work = one
    collector.loop.start()
    try:
        wait_until(lambda: len(rounds) >= 2, 10, "two rounds")
    finally:
        collector.loop.stop()
        collector.close()
    assert rounds[:2] == [True, False]


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
    context.storage.put_bytes(KEY, b"x" * 1500)
    age(context, KEY)
    path = root_of(context) / KEY

    def gc(*arguments: str) -> str:
        result = invoke(["gc", *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    assert gc("--grace", "9000") == "Nothing to delete.\n"
    dry = gc("--dry-run")
    assert "orphaned file" in dry
    assert KEY in dry
    assert dry.endswith("Would move 1 item (1.5 kB) to the trash.\n")
    assert path.exists()
    assert gc("--json") == (
        f'{{"kind": "orphaned file", "name": "{KEY}", "count": 1, "size_bytes": 1500}}\n'
    )
    assert not path.exists()
    trashed = storage_keys.trash(KEY, datetime.now(UTC).date())
    assert files_in(context) == {trashed}
    old_trash = storage_keys.trash(KEY, date(2020, 1, 1))
    context.storage.move(trashed, old_trash)
    assert gc().endswith("Deleted 1 item (1.5 kB).\n")
    for _ in range(21):
        key = storage_keys.model(new_id("mdl"))
        context.storage.put_bytes(key, b"x")
        age(context, key)
    stopped = invoke(["gc"])
    assert stopped.exit_code == 1
    assert "dspt gc: Garbage collection stopped: it would move 21 of 21" in stopped.output
    assert gc("--force").endswith("Moved 21 items (21 bytes) to the trash.\n")


def test_a_zip_that_is_uploaded_while_files_are_swept_stays(
    client: TestClient, live: Context
) -> None:
    """The row comes after the file: what is too young for its row is not looked at."""
    body = zip_of({"cat/1.png": b"not looked at"})
    assert client.post("/jobs", files={"dataset": ("a.zip", body)}).status_code == 202
    live.storage.put_bytes(storage_keys.dataset(new_id("ds"), corrections=False), body)
    assert found(live, grace=60) == []
    assert len(files_in(live)) == 2
