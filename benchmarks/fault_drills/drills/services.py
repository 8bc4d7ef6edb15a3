"""Redis and PostgreSQL are stopped or frozen; the database is lost and restored."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus

from benchmarks.fault_drills.stack import QUICK_HEARTBEAT, Shape
from benchmarks.fault_drills.trial import Trial, drill
from tests.services import PostgresServer, RedisServer, children_of

_LONGEST_OUTAGE = 1.5  # seconds: some reconnect in time and some do not
_LONGEST_FREEZE = 8.0  # seconds: longer than the time limits of the API and than a lease
_ANSWER_SECONDS = 10.0  # the API answers within these, whatever is frozen
_ONE_WORKER = Shape(workers=1)  # so that jobs wait in the queue
_QUICK = Shape(workers=1, heartbeat=QUICK_HEARTBEAT)


def _needs_postgres(database: str) -> str | None:
    return None if database == "postgresql" else "SQLite has no server to restart"


@drill(
    "redis-data-lost",
    "Redis stopped or killed and started again, without its data",
    shape=Shape(workers=1, append_only=False),
)
@drill(
    "redis",
    "Redis stopped or killed and started again, with its append-only file",
    shape=_ONE_WORKER,
)
def restart_redis(trial: Trial) -> None:
    job = trial.post()
    trial.post(epochs=5)
    trial.wait_for_moment(job)
    redis = trial.stack.servers.redis
    redis.stop(trial.rng.choice((signal.SIGTERM, signal.SIGKILL)))
    trial.post(epochs=1)  # is accepted without Redis
    time.sleep(trial.rng.uniform(0, _LONGEST_OUTAGE))
    redis.start()


@drill(
    "postgres",
    "PostgreSQL stopped, stopped immediately or killed, and started again",
    shape=_QUICK,
    needs=_needs_postgres,
)
def restart_postgres(trial: Trial) -> None:
    job = trial.post(attempts=trial.any_attempts)
    trial.post(epochs=5, attempts=trial.any_attempts)
    trial.wait_for_moment(job)
    database = trial.stack.servers.database
    assert database is not None  # the drill is skipped without one
    database.stop(trial.rng.choice((signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)))
    time.sleep(trial.rng.uniform(0, _LONGEST_OUTAGE))
    database.start()


@drill(
    "postgres-frozen",
    f"PostgreSQL accepts connections and does not answer for up to {_LONGEST_FREEZE:g} s",
    shape=_QUICK,
    needs=_needs_postgres,
)
def freeze_postgres(trial: Trial) -> None:
    job = trial.post(attempts=trial.any_attempts)
    trial.wait_for_moment(job)
    database = trial.stack.servers.database
    assert database is not None
    with _frozen(database):
        _check_answer(trial, f"/jobs/{job}", HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE)
        _check_answer(trial, "/health/live", HTTPStatus.OK)
        time.sleep(trial.rng.uniform(0, _LONGEST_FREEZE))


@drill(
    "redis-frozen",
    f"Redis accepts connections and does not answer for up to {_LONGEST_FREEZE:g} s",
    shape=_ONE_WORKER,
)
def freeze_redis(trial: Trial) -> None:
    job = trial.post()
    trial.wait_for_moment(job)
    with _frozen(trial.stack.servers.redis):
        _check_answer(trial, f"/jobs/{job}", HTTPStatus.OK)
        _check_answer(trial, "/health/live", HTTPStatus.OK)
        trial.post(epochs=1)  # is accepted without Redis
        time.sleep(trial.rng.uniform(0, _LONGEST_FREEZE))


@contextmanager
def _frozen(server: PostgresServer | RedisServer) -> Iterator[None]:
    """Stop a server's processes with SIGSTOP: it accepts connections and never answers."""
    assert server.process is not None
    processes = [server.process.pid]
    os.kill(server.process.pid, signal.SIGSTOP)  # first: it starts no more children
    processes += children_of(server.process.pid)
    try:
        _send(signal.SIGSTOP, processes)
        yield
    finally:
        _send(signal.SIGCONT, processes)


def _send(number: signal.Signals, processes: list[int]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def _check_answer(trial: Trial, path: str, *expected: HTTPStatus) -> None:
    """Check that the API answers in time although a service is frozen."""
    start = time.monotonic()
    status = trial.stack.client.http.get(path).status_code
    seconds = time.monotonic() - start
    if seconds > _ANSWER_SECONDS or status not in expected:
        trial.wrong.append(f"GET {path} was answered with {status} after {seconds:.1f} s")


@drill(
    "stop-everything",
    "SIGTERM to all parts, and all started again: no attempt counts",
    shape=_ONE_WORKER,
)
def stop_everything(trial: Trial) -> None:
    job = trial.post()
    trial.post(epochs=5)
    trial.wait_for_moment(job)
    stack = trial.stack
    for part in stack.parts:
        part.process.terminate()
    for part in stack.parts:
        part.wait()
    trial.wrong += [
        f"job {job_id} is {status} at attempt {attempt}, although its worker had time to stop"
        for job_id, status, attempt in stack.unfinished()
        if status != "queued" or attempt
    ]
    servers = [
        server for server in (stack.servers.database, stack.servers.redis) if server is not None
    ]
    for server in reversed(servers):
        server.stop()
    for server in servers:
        server.start()
    stack.start()


@drill(
    "backup",
    "back up, kill everything, lose the database, restore",
    shape=Shape(heartbeat=QUICK_HEARTBEAT),
)
def restore_backup(trial: Trial) -> None:
    job = trial.post(attempts=trial.any_attempts)
    trial.post(epochs=5, attempts=trial.any_attempts)
    trial.wait_for_moment(job)
    stack, backup = trial.stack, str(trial.stack.folder / "backup")
    stack.run("backup", backup)
    time.sleep(trial.rng.uniform(0, trial.length))  # what happens now is lost
    for part in stack.parts:
        part.kill()
    stack.lose_database()
    stack.run("restore", backup)
    stack.start()
