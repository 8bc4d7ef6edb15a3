"""Liveness and readiness of the API."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from app.health import service
from app.kit import background_loop
from app.kit.settings import Settings
from app.main import create_app
from dspt.backbones import load_backbone
from tests.integration.conftest import context_of, local_client
from tests.integration.own_api import running
from tests.s3_server import S3Server
from tests.services import PostgresCopies, RedisServer, wait_until

CALLERS, EACH = 20, 3


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each probe gets a report of its own, so that a change is seen at once."""
    monkeypatch.setattr(service, "FRESH_SECONDS", 0.0)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """One kind of database is enough; no broker."""
    with local_client(create_app(Settings(data_dir=tmp_path, housekeeping_seconds=0.05))) as opened:
        yield opened


def written(folder: Path) -> dict[Path, int]:
    """The folders and files below `folder`, with the time of their last change."""
    return {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


def report_of(client: TestClient) -> dict[str, Any]:
    report: dict[str, Any] = client.get("/health/ready").json()
    return report


def test_ready_reports_engine_and_precision_of_what_is_loaded(
    client: TestClient,
) -> None:
    inference = client.app.state.inference  # type: ignore[attr-defined]
    inference.backbones._keep(replace(load_backbone("builtin"), precision="float16"))
    report = report_of(client)
    assert report["backbones"] == ["builtin"]
    assert (report["engines"], report["precisions"]) == (
        {"builtin": "torch"},
        {"builtin": "float16"},
    )


def test_live(client: TestClient) -> None:
    response = client.get("/health/live")
    assert (response.status_code, response.json()) == (200, {"status": "live", "stuck_loops": []})


def test_a_stuck_loop_fails_the_probe_by_name(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_loop, "_STUCK_MARGIN_SECONDS", 0.1)
    release = threading.Event()
    context = context_of(client)
    monkeypatch.setattr(type(context.database), "read", lambda _self: release.wait(60))
    try:
        stuck = {"status": "stuck", "stuck_loops": ["reaper", "webhooks"]}
        wait_until(lambda: client.get("/health/live").json() == stuck, 30, "the stuck loops")
        assert client.get("/health/live").status_code == 503
    finally:
        monkeypatch.undo()
        release.set()
    wait_until(lambda: client.get("/health/live").status_code == 200, 30, "the loop going on")


def test_ready_names_what_is_missing(client: TestClient) -> None:
    """Here the broker: DSPT_BROKER_URL is not set. Predictions do not need it."""
    response = client.get("/health/ready")
    report = response.json()
    assert (response.status_code, report["status"]) == (200, "ready")
    assert report["degraded"] == ["broker"]
    assert report["checks"]["broker"]["status"] == "failing"
    assert "DSPT_BROKER_URL" in report["checks"]["broker"]["detail"]
    for part in ("database", "storage", "data_dir"):
        assert report["checks"][part] == {"status": "ok", "detail": ""}
    assert report["checks"]["workers"]["status"] == "none"
    assert "dspt worker" in report["checks"]["workers"]["detail"]


@pytest.mark.usefixtures("fresh")
def test_ready_without_a_worker_and_then_without_the_broker(
    tmp_path: Path, redis: RedisServer
) -> None:
    settings = Settings(data_dir=tmp_path, broker_url=redis.emptied())
    with local_client(create_app(settings)) as client:
        report = report_of(client)
        assert (report["status"], report["degraded"]) == ("ready", [])
        assert report["checks"]["workers"]["count"] == 0
        redis.stop()
        try:
            wait_until(lambda: report_of(client)["degraded"] == ["broker"], 30, "the broker away")
            assert client.get("/health/ready").status_code == 200
        finally:
            redis.start()
        wait_until(lambda: not report_of(client)["degraded"], 30, "the broker back")


@pytest.mark.usefixtures("fresh")
def test_not_ready_when_a_storage_on_this_machine_is_gone(
    client: TestClient, tmp_path: Path
) -> None:
    place = tmp_path / "storage"
    shutil.rmtree(place)
    place.write_text("a file where the folder should be")
    wait_until(lambda: client.get("/health/ready").status_code == 503, 30, "the storage away")
    report = report_of(client)
    assert report["status"] == "not_ready"
    assert report["checks"]["storage"]["status"] == "failing"
    assert report["checks"]["database"]["status"] == "ok"


def refuse_to_write(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions do not stop the administrator, as whom the tests may run."""
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder or not mode & os.W_OK)


@pytest.mark.usefixtures("fresh")
def test_not_ready_when_the_data_directory_is_not_writable(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert report_of(client)["checks"]["data_dir"]["status"] == "ok"
    refuse_to_write(tmp_path, monkeypatch)
    wait_until(lambda: client.get("/health/ready").status_code == 503, 30, "no access")
    report = report_of(client)
    assert report["status"] == "not_ready"
    assert report["checks"]["storage"]["status"] == "ok"
    assert report["checks"]["data_dir"] == {
        "status": "failing",
        "detail": "The data directory is not writable. Check DSPT_DATA_DIR, free space and "
        "permissions.",
    }


@pytest.mark.usefixtures("fresh")
def test_a_data_directory_of_caches_alone_is_not_required(
    postgres_copies: PostgresCopies, s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with postgres_copies.lend() as url:
        settings = Settings(
            data_dir=tmp_path, database_url=url, storage_url=s3.new_url(), s3_endpoint=s3.endpoint
        )
        with local_client(create_app(settings)) as client:
            assert report_of(client)["degraded"] == ["broker"]
            refuse_to_write(tmp_path, monkeypatch)
            wait_until(
                lambda: report_of(client)["degraded"] == ["broker", "data_dir"], 30, "no access"
            )
            assert report_of(client)["status"] == "ready"


def test_many_probes_at_once_share_one_check(tmp_path: Path, redis: RedisServer) -> None:
    settings = Settings(data_dir=tmp_path, broker_url=redis.emptied())
    with running(settings) as (url, context):
        checks = 0
        check = context.database.check

        def counted() -> None:
            nonlocal checks
            checks += 1
            check()

        context.database.check = counted  # type: ignore[method-assign]
        before_them = written(tmp_path / "storage")
        start = threading.Barrier(CALLERS)

        def caller(_: int) -> list[int]:
            with httpx.Client(base_url=url, timeout=60) as line:
                start.wait()
                return [line.get("/health/ready").status_code for _ in range(EACH)]

        before = time.monotonic()
        with ThreadPoolExecutor(CALLERS) as threads:
            answers = Counter(
                code for codes in threads.map(caller, range(CALLERS)) for code in codes
            )
        seconds = time.monotonic() - before
        assert answers == {200: CALLERS * EACH}
        assert 1 <= checks <= 2 + seconds / service.FRESH_SECONDS
        assert written(tmp_path / "storage") == before_them


@pytest.mark.usefixtures("fresh")
def test_a_hanging_check_takes_one_thread_and_spoils_no_other(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "TIMEOUT_SECONDS", 0.2)
    release, started = threading.Event(), []

    def hang() -> None:
        started.append(threading.get_ident())
        release.wait(60)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(context_of(client).storage, "probe", hang)
            for _ in range(3):
                checks = report_of(client)["checks"]
                assert checks["storage"]["detail"] == "no answer within 0.2 seconds"
                assert checks["database"]["status"] == "ok"
        assert len(started) == 1
    finally:
        release.set()
    wait_until(lambda: report_of(client)["status"] == "ready", 30, "the storage back")
