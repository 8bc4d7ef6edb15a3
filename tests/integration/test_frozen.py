"""A database, a broker or a storage that accepts connections and never answers."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from dspt_client.schemas.status import Status
from sqlalchemy import make_url

from app.jobs.lifecycle.lease import JobLease
from app.kit.context import Context
from app.kit.settings import Settings
from tests.integration.conftest import zip_of
from tests.integration.jobs import bring_to
from tests.integration.own_api import running
from tests.proxy import Proxy, proxy_to_file, proxy_to_port
from tests.s3_server import S3Server
from tests.services import (
    RedisServer,
    clean_environment,
    free_port,
    postgres_database,
    wait_until,
)
from tests.warm import Forked, Warm

#: Longest answer, whatever is broken.
ANSWER_SECONDS = 10.0
#: Less for a statement than by default, by so much that the test takes half as long.
LESS_SECONDS = 3.0
#: After SIGTERM; then a container engine kills.
GRACE_SECONDS = 10.0

CALLS: dict[str, Callable[[httpx.Client], httpx.Response]] = {
    "list jobs": lambda api: api.get("/jobs"),
    "get a job": lambda api: api.get("/jobs/job_00000000000000000000000000"),
    "submit": lambda api: api.post("/jobs", files={"dataset": ("a.zip", zip_of({"a/1": b"x"}))}),
    "list models": lambda api: api.get("/models"),
    "predict": lambda api: api.post(
        "/predict", data={"model": "pets"}, files={"images": ("a.png", b"x")}
    ),
    "aliases": lambda api: api.get("/aliases"),
    "metrics": lambda api: api.get("/metrics"),
    "ready": lambda api: api.get("/health/ready"),
}


@dataclass
class Api:
    """`dspt api` behind proxies to its services."""

    process: Forked
    client: httpx.Client
    database: Proxy
    broker: Proxy
    log: Path
    settings: Settings
    """Of the same service, past the proxies."""

    def call_all(self) -> dict[str, tuple[httpx.Response, float]]:
        """Send all calls at once; each with its response and the seconds that it took."""

        def call(send: Callable[[httpx.Client], httpx.Response]) -> tuple[httpx.Response, float]:
            start = time.monotonic()
            return send(self.client), time.monotonic() - start

        with ThreadPoolExecutor(len(CALLS)) as threads:
            sent = {name: threads.submit(call, send) for name, send in CALLS.items()}
            return {name: future.result() for name, future in sent.items()}

    def get(self, path: str) -> httpx.Response:
        return self.client.get(path)

    def stop(self) -> float:
        """Send SIGTERM; return the seconds until the process has ended."""
        start = time.monotonic()
        self.process.terminate()
        # uvicorn ends itself by the signal once it has stopped in good order.
        assert self.process.wait(60) in (0, -signal.SIGTERM), self.log.read_text()
        return time.monotonic() - start


@pytest.fixture
def api(
    request: pytest.FixtureRequest,
    postgres_template: str,
    redis: RedisServer,
    warm_start: Warm,
    tmp_path: Path,
) -> Iterator[Api]:
    redis.emptied()  # it may belong to the installation of another test
    settings: dict[str, str] = getattr(request, "param", {})
    with (
        postgres_database(postgres_template) as url,
        proxy_to_file(f"{make_url(url).query['host']}/.s.PGSQL.5432") as database,
        proxy_to_port(redis.port) as broker,
        started(warm_start, url, database, broker, tmp_path, settings) as opened,
    ):
        yield opened


@contextmanager
def started(
    warm: Warm,
    url: str,
    database: Proxy,
    broker: Proxy,
    folder: Path,
    settings: dict[str, str],
) -> Iterator[Api]:
    proxied = make_url(url).set(host="127.0.0.1", port=database.port, query={})
    log, port = folder / "api.log", free_port()
    environment = clean_environment(
        DSPT_DATA_DIR=str(folder / "data"),
        DSPT_DATABASE_URL=proxied.render_as_string(hide_password=False),
        DSPT_BROKER_URL=f"redis://127.0.0.1:{broker.port}/0",
        DSPT_HOUSEKEEPING_SECONDS="0.2",
        DSPT_STOP_TIMEOUT_SECONDS="5",
        DSPT_HEARTBEAT_SECONDS="0.4",
        DSPT_LOG_FORMAT="json",
        OMP_NUM_THREADS="1",
        **settings,
    )
    process = warm.dspt(["api", "--port", str(port)], environment, log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            wait_until(lambda: answers(client), 120, "the API")
            own = Settings(data_dir=folder / "data", database_url=url)
            yield Api(process, client, database, broker, log, own)
    finally:
        database.thaw()
        broker.thaw()
        process.kill()
        process.wait(60)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    "api", [{"DSPT_DATABASE_TIMEOUT_SECONDS": f"{5 - LESS_SECONDS}"}], indirect=True, ids=["2 s"]
)
def test_a_frozen_database(api: Api) -> None:
    # On a busy machine the first calls may take longer than the limit.
    wait_until(lambda: all_succeed(api.call_all()), 120, "all calls")
    api.database.freeze()
    for again in (False, True):  # the second time no connection of the pool is left
        for name, (response, seconds) in api.call_all().items():
            assert seconds < ANSWER_SECONDS - LESS_SECONDS, name
            if name != "ready" or again:  # a report may be one second old
                check_refused(name, response)
        assert api.get("/health/live").status_code == 200
    api.database.thaw()
    wait_until(lambda: api.get("/jobs").status_code == 200, 30, "the database is back")
    api.database.freeze()
    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(api.get, "/jobs")
        assert api.stop() < GRACE_SECONDS - LESS_SECONDS
        assert late.result().status_code == 503
    assert "never retrieved" not in api.log.read_text()


def all_succeed(calls: dict[str, tuple[httpx.Response, float]]) -> bool:
    return {response.status_code for response, _ in calls.values()} <= {200, 202, 404}


def check_refused(name: str, response: httpx.Response) -> None:
    if name == "ready":
        report: dict[str, Any] = response.json()
        assert (response.status_code, report["status"]) == (503, "not_ready")
        assert report["checks"]["database"]["status"] == "failing"
        assert report["checks"]["storage"]["status"] == "ok"
    else:
        assert response.status_code == 503, (name, response.text)
        assert response.json()["code"] == "database_unavailable"
        assert int(response.headers["retry-after"]) > 0


def test_a_frozen_broker(api: Api) -> None:
    api.broker.freeze()

    def noticed() -> bool:
        return bool(api.get("/health/ready").json()["degraded"] == ["broker"])

    with ThreadPoolExecutor(2) as threads:
        called = threads.submit(api.call_all)
        reported = threads.submit(wait_until, noticed, 30, "a report of the silent broker")
        job_id = CALLS["submit"](api.client).json()["id"]  # the outbox now waits for the broker
        context = Context.open(api.settings)
        try:
            assert JobLease.claim(context, job_id, "a worker that dies")
        finally:
            context.close()

        def statuses() -> list[str]:
            events = api.get(f"/jobs/{job_id}/events").json()["data"]
            return [event["data"]["status"] for event in events if event["type"] == "status"]

        again = ["queued", "validating", "queued"]
        wait_until(lambda: statuses() == again, 60, "the job of the dead worker to be queued")
        for name, (response, seconds) in called.result().items():
            assert seconds < ANSWER_SECONDS, name
            assert response.status_code in (200, 202, 404), name
        reported.result()
    assert api.get("/health/live").status_code == 200
    assert api.stop() < GRACE_SECONDS


def test_a_frozen_storage(redis: RedisServer, s3: S3Server, tmp_path: Path) -> None:
    zipped = {"dataset": ("a.zip", zip_of({"a/1": b"x"}))}
    with proxy_to_port(s3.port) as proxy, ThreadPoolExecutor(60) as threads:
        given = Settings(
            data_dir=tmp_path,
            storage_url=s3.new_url(),
            s3_endpoint=f"http://127.0.0.1:{proxy.port}",
            storage_timeout_seconds=1,
            broker_url=redis.emptied(),
            no_auth=True,
        )
        with running(given) as (url, context), httpx.Client(base_url=url, timeout=60) as api:
            job_id = bring_to(context, Status.SUCCEEDED)
            model_id = api.get(f"/jobs/{job_id}").json()["model_id"]
            assert api.get(f"/models/{model_id}/artifact").status_code == 404  # never stored
            assert api.post("/jobs", files=zipped).status_code == 202
            calls: dict[str, Callable[[], httpx.Response]] = {
                "submit": lambda: api.post(
                    "/jobs", files={"dataset": ("b.zip", zip_of({"b": b""}))}
                ),
                "artifact": lambda: api.get(f"/models/{model_id}/artifact"),
                "audit": lambda: api.get(f"/jobs/{job_id}/audit"),
                "predict": lambda: api.post(
                    "/predict", data={"model": model_id}, files={"images": ("a.png", b"x")}
                ),
            }
            proxy.freeze()
            # More than there are threads: none may wait for the storage for long.
            sent = {threads.submit(call): name for name, call in calls.items() for _ in range(15)}
            others = [threads.submit(api.get, path) for path in ("/jobs", "/health/live")]
            start = time.monotonic()
            for future, name in sent.items():
                response = future.result()
                assert response.status_code == 503, (name, response.text)
                assert response.json()["code"] == "storage_unavailable", name
                assert int(response.headers["retry-after"]) > 0
            assert {future.result().status_code for future in others} == {200}
            assert time.monotonic() - start < ANSWER_SECONDS
            report = api.get("/health/ready").json()
            assert (report["status"], report["degraded"]) == ("ready", ["storage"])
            proxy.thaw()
            wait_until(
                lambda: api.post("/jobs", files=zipped).status_code == 202, 30, "the storage"
            )
            proxy.freeze()
            threads.submit(calls["artifact"])
            start = time.monotonic()
        assert time.monotonic() - start < GRACE_SECONDS
