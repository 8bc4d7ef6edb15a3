"""The drill: back up a working service, go on, lose the database, restore. Nothing is gone.

A real API over HTTP, a real worker, Redis, storage and database; the commands as an operator runs
them.
"""

from __future__ import annotations

import os
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.gc.files import TooMuchGarbageError
from app.gc.findings import Kind
from app.gc.service import collect
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.db import Database
from app.kit.settings import Settings
from dspt.model.artifact import save_model
from tests.integration.conftest import zip_of
from tests.integration.databases import on_postgres
from tests.integration.jobs import files_in
from tests.integration.own_api import running
from tests.integration.stack import Stack, photos
from tests.services import clean_environment, redis_server, wait_until
from tests.unit.models import tuned_model
from tests.warm import Warm

pytestmark = pytest.mark.slow


def environment_of(settings: Settings) -> dict[str, str]:
    return clean_environment(
        DSPT_DATA_DIR=str(settings.data_dir),
        DSPT_DATABASE_URL=settings.database_url,
        DSPT_STORAGE_URL=settings.storage_url,
        DSPT_BROKER_URL=settings.broker_url,
    )


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


def tune(api: httpx.Client, per_class: int) -> dict[str, Any]:
    """Submit a job and wait for its end."""
    files = {"dataset": ("a.zip", zip_of(photos(per_class)))}
    answer = api.post("/jobs", files=files, data={"config": '{"epochs": 2}'})
    assert answer.status_code == 202, answer.text
    path = f"/jobs/{answer.json()['id']}"
    wait_until(lambda: api.get(path).json()["finished_at"], 300, "the job", pause=0.2)
    job: dict[str, Any] = api.get(path).json()
    assert job["status"] == "succeeded", job
    return job


def import_model(api: httpx.Client, artifact: bytes, name: str) -> str:
    answer = api.post(
        "/models", files={"artifact": ("a.safetensors", artifact)}, data={"name": name}
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def lose(settings: Settings) -> None:
    """Lose the whole database, as if its disk was gone."""
    database = Database(settings.database_url)
    with database.engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    database.close()


def age_all_files(context: Context) -> None:
    """Make all stored files older than the grace period of garbage collection."""
    root = Path(context.storage.url.removeprefix("file://"))
    then = time.time() - 7200
    for name in files_in(context):
        os.utime(root / name, (then, then))


@on_postgres  # backup/: SQLite too
def test_nothing_that_the_backup_names_is_gone(
    settings: Settings, tmp_path: Path, warm_start: Warm
) -> None:
    save_model(tuned_model(), tmp_path / "a.safetensors")
    artifact = (tmp_path / "a.safetensors").read_bytes()
    backup = str(tmp_path / "backup")
    with redis_server() as broker:
        values = settings.model_dump(exclude_unset=True) | {"broker_url": broker.url}
        settings = Settings(**values, gc_seconds=0.5)
        worker = Stack(settings, tmp_path / "worker.log", warm_start).worker

        def dspt(*arguments: str) -> subprocess.CompletedProcess[str]:
            return warm_start.run(arguments, environment_of(settings), tmp_path / "command.log")

        # The service works, is backed up while it works, and goes on.
        with (
            running(settings) as (url, _),
            worker(),
            httpx.Client(base_url=url, timeout=120) as api,
        ):
            job = tune(api, 6)
            kept = {job["model_id"], import_model(api, artifact, "imported")}
            alias = api.patch(f"/models/{job['model_id']}", json={"alias": "production"})
            assert alias.status_code == 200, alias.text
            named = {
                path: api.get(path).content
                for path in (
                    f"/jobs/{job['id']}",
                    f"/jobs/{job['id']}/audit",
                    f"/jobs/{job['id']}/events?limit=1000",
                    "/aliases/production",
                    *(f"/models/{model_id}" for model_id in kept),
                    *(f"/models/{model_id}/artifact" for model_id in kept),
                )
            }
            assert "Backed up 5 files" in done(dspt("backup", backup))
            later_job = tune(api, 7)
            later = [import_model(api, artifact, f"later {n}") for n in range(21)]
            deleted = next(iter(kept - {job["model_id"]}))
            assert api.delete(f"/models/{deleted}").status_code == 204

        # The database is lost. Nothing starts on an empty one, and no file goes.
        before = files_in(Context.open(settings))
        lose(settings)
        for command in ("api", "worker", "gc"):
            refused = dspt(command)
            assert refused.returncode == 1
            assert "The storage is not empty, but the database is new" in refused.stderr
        assert files_in(Context.open(settings)) == before

        assert "is sound" in done(dspt("backup", backup, "--check"))
        restored = done(dspt("restore", backup))
        # The model that was deleted after the backup is there again.
        assert "4 in place, 1 copied from the backup" in restored

        context = Context.open(settings)
        age_all_files(context)
        with (
            running(settings) as (url, live),
            worker(),
            httpx.Client(base_url=url, timeout=120) as api,
        ):
            for path, content in named.items():
                assert api.get(path).content == content, path
            answer = api.post(
                "/predict",
                data={"model": "production"},
                files={"images": ("a.png", photos(1)["red/0.png"])},
            )
            assert answer.status_code == 200, answer.text
            # The collector stops at the many files that are newer than the backup.
            newer = {
                storage_keys.dataset(later_job["dataset"]["id"], corrections=False),
                storage_keys.audit(later_job["model_id"]),
                storage_keys.predictions(later_job["model_id"]),
                *(storage_keys.model(model_id) for model_id in (*later, later_job["model_id"])),
            }
            with pytest.raises(TooMuchGarbageError):
                list(collect(live))
            assert files_in(live) >= newer
            assert tune(api, 8)["status"] == "succeeded"
            assert files_in(live) >= newer

        stopped = dspt("gc")
        assert stopped.returncode == 1
        assert "`dspt gc --force` moves them" in stopped.stderr
        moved = {f.name for f in collect(context, force=True) if f.kind is Kind.ORPHAN}
        assert moved == newer
        today = datetime.now(UTC).date()
        assert {storage_keys.trash(name, today) for name in newer} <= files_in(context)
        with running(settings) as (url, _), httpx.Client(base_url=url, timeout=120) as api:
            for path, content in named.items():
                assert api.get(path).content == content, path
        context.close()
