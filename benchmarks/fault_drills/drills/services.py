"""Redis and PostgreSQL are stopped and started again; the database is lost and restored."""

from __future__ import annotations

import signal
import time

from benchmarks.fault_drills.stack import QUICK_HEARTBEAT, Shape
from benchmarks.fault_drills.trial import Drill, Trial

_LONGEST_OUTAGE = 1.5  # seconds: some reconnect in time and some do not
_ONE_WORKER = 1  # so that jobs wait in the queue


def restart_redis(trial: Trial) -> None:
    job = trial.post()
    trial.post(epochs=5)
    trial.wait_for_moment(job)
    redis = trial.stack.redis
    redis.stop(trial.rng.choice((signal.SIGTERM, signal.SIGKILL)))
    trial.post(epochs=1)  # is accepted without Redis
    time.sleep(trial.rng.uniform(0, _LONGEST_OUTAGE))
    redis.start()


def restart_postgres(trial: Trial) -> None:
    job = trial.post(attempts=trial.any_attempts)
    trial.post(epochs=5, attempts=trial.any_attempts)
    trial.wait_for_moment(job)
    database = trial.stack.database
    assert database is not None  # the drill is skipped without one
    database.stop(trial.rng.choice((signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)))
    time.sleep(trial.rng.uniform(0, _LONGEST_OUTAGE))
    database.start()


def stop_everything(trial: Trial) -> None:
    job = trial.post()
    trial.post(epochs=5)
    trial.wait_for_moment(job)
    stack = trial.stack
    for part in stack.parts:
        part.terminate()
    for part in stack.parts:
        part.wait()
    trial.wrong += [
        f"job {job_id} is {status} at attempt {attempt}, although its worker had time to stop"
        for job_id, status, attempt in stack.unfinished()
        if status != "queued" or attempt
    ]
    servers = [server for server in (stack.database, stack.redis) if server is not None]
    for server in reversed(servers):
        server.stop()
    for server in servers:
        server.start()
    stack.start()


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


def _needs_postgres(database: str) -> str | None:
    return None if database == "postgresql" else "SQLite has no server to restart"


DRILLS = (
    Drill(
        "redis",
        "Redis stopped or killed and started again, with its append-only file",
        restart_redis,
        Shape(workers=_ONE_WORKER),
    ),
    Drill(
        "redis-data-lost",
        "Redis stopped or killed and started again, without its data",
        restart_redis,
        Shape(workers=_ONE_WORKER, append_only=False),
    ),
    Drill(
        "postgres",
        "PostgreSQL stopped, stopped immediately or killed, and started again",
        restart_postgres,
        Shape(workers=_ONE_WORKER, heartbeat=QUICK_HEARTBEAT),
        needs=_needs_postgres,
    ),
    Drill(
        "stop-everything",
        "SIGTERM to all parts, and all started again: no attempt counts",
        stop_everything,
        Shape(workers=_ONE_WORKER),
    ),
    Drill(
        "backup",
        "back up, kill everything, lose the database, restore",
        restore_backup,
        Shape(heartbeat=QUICK_HEARTBEAT),
    ),
)
