"""Files that garbage collection moves to the trash and deletes, and those that it never touches."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from dspt_client.schemas.status import Status
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.gc.collector import Collector
from app.gc.files import TooMuchGarbageError, move_limit
from app.gc.findings import Kind
from app.gc.service import collect
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.ids import new_id
from app.tables.jobs import Job
from tests.commands import invoke
from tests.integration.conftest import post_job, zip_of
from tests.integration.databases import on_both, sqlite_first
from tests.integration.garbage import DAY, KEY, age, found, in_trash, keeping, own_keys, root_of
from tests.integration.jobs import bring_to, files_in
from tests.services import wait_until

pytestmark = sqlite_first


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


@on_both
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
