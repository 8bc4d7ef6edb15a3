"""The parts of `dspt serve`: a private Redis, one worker and the API on one data directory."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import secrets
import shutil
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from app.serve import ServeError
from app.serve.broker import Broker, place_broker
from app.serve.listener import bind, url_of
from app.serve.lock import lock_data_dir
from app.serve.part import Plan
from app.serve.supervisor import supervising
from dspt.kit.cpus import available_cpus, set_thread_defaults

#: More than the API itself allows for each of its checks.
_PROBE_SECONDS = 4.0
#: A job yields to requests: a caller waits for a prediction, but not for a job.
_WORKER_NICE = 5
_local = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def serve(
    data_dir: Path, host: str, port: int, stop_seconds: float, say: Callable[[str], None]
) -> None:
    """Run the service until a signal requests a stop.

    port: 0 selects a free one. stop_seconds: what the API needs to stop. say: prints a message for
    the user. Raises ServeError if the service cannot start, or when a part of it dies.
    """
    with bind(host, port) as listener:
        url = url_of(listener)
        log_dir, redis_dir = data_dir / "logs", data_dir / "redis"
        _make_private(data_dir, log_dir, redis_dir)
        with lock_data_dir(data_dir / "serve.lock", url) as lock:
            say(f"Starting DSPT on {data_dir} ...")
            if not (data_dir / "dspt.db").exists():
                _empty(redis_dir)
            broker = place_broker(redis_dir)
            say(f"Queue: {broker.program}.")
            environment = os.environ | {
                "DSPT_DATA_DIR": str(data_dir),
                "DSPT_BROKER_URL": broker.url,
                "PYTHONUNBUFFERED": "1",
                # A user's folder may hold `app` or `worker`: never import from the current folder.
                "PYTHONSAFEPATH": "1",
            }
            link_token = secrets.token_urlsafe(32)
            with supervising(log_dir, lock, say) as supervisor:
                up = supervisor.start([_redis(broker)]) and supervisor.start(
                    [
                        _api(listener, environment, stop_seconds, link_token),
                        _worker(url, environment),
                    ]
                )
                # From now on only the API holds it, so that its stop refuses new connections.
                listener.close()
                if up:
                    page = _page(url, link_token)
                    say(_welcome(url, page, data_dir, log_dir))
                    supervisor.watch()
                say("Stopping ...")
            say("DSPT has stopped.")


def _redis(broker: Broker) -> Plan:
    config = broker.directory / "redis.conf"
    config.touch(0o600)  # it may hold a password
    config.write_text(broker.config())
    return Plan("redis", [str(broker.program.path), str(config)], os.environ, broker.answers)


def _api(
    listener: socket.socket, environment: Mapping[str, str], stop_seconds: float, link_token: str
) -> Plan:
    url, descriptor = url_of(listener), listener.fileno()
    command = [sys.executable, "-P", "-m", "app.cli", "api", "--socket-fd", str(descriptor)]
    command += ["--sign-in-sha256", hashlib.sha256(link_token.encode()).hexdigest()]
    # There is no load balancer that could send requests elsewhere.
    only_one = {"DSPT_ROLE": "all", "DSPT_API_WORKERS": "1"}
    environment = {"DSPT_STOP_DELAY_SECONDS": "0"} | dict(environment) | only_one
    return Plan(
        name="api",
        command=command,
        environment=_with_threads(environment, max(1, available_cpus() // 2)),
        ready=lambda: _readiness(url) is not None,
        stop_seconds=stop_seconds,
        pass_fds=[descriptor],
    )


def _worker(url: str, environment: Mapping[str, str]) -> Plan:
    def ready() -> bool:
        report = _readiness(url)
        return report is not None and report["checks"]["workers"]["count"] > 0

    return Plan(
        name="worker",
        command=[sys.executable, "-P", "-c", "from worker.cli import worker; worker()"],
        environment=_with_threads(environment, available_cpus()),
        ready=ready,
        nice=_WORKER_NICE,
    )


def _with_threads(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    result = dict(environment)
    set_thread_defaults(result, threads)
    return result


def refuse_outside_services(environment: Mapping[str, str]) -> None:
    """Raise ServeError for a setting that `dspt serve` would have to ignore."""
    names = ("DSPT_DATABASE_URL", "DSPT_BROKER_URL", "DSPT_STORAGE_URL")
    for name in (*names, *(f"{name}_FILE" for name in names)):
        if environment.get(name):
            raise ServeError(
                f"{name} is set, but `dspt serve` uses its own database, broker and storage "
                f"in its data directory. Unset {name}, or run `dspt api` and `dspt worker` "
                "against your services."
            )


def _readiness(url: str) -> dict[str, Any] | None:
    """Return the report of /health/ready; None while the API is not ready."""
    try:
        with _local.open(f"{url}/health/ready", timeout=_PROBE_SECONDS) as response:
            report: dict[str, Any] = json.load(response)
    except (OSError, http.client.HTTPException):  # not listening yet, not ready, or stopping
        return None
    return report


def _page(url: str, link_token: str) -> str:
    """Return the address of the page; where keys are needed, with a token that signs in once."""
    try:
        with _local.open(f"{url}/session", timeout=_PROBE_SECONDS):
            return f"{url}/ui/"
    except urllib.error.HTTPError as error:
        error.close()
        return f"{url}/ui/#/sign-in?link={link_token}" if error.code == 401 else f"{url}/ui/"
    except OSError:
        return f"{url}/ui/"


def _make_private(*directories: Path) -> None:
    for directory in directories:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ServeError(f"--data-dir: cannot create {directory}: {error.strerror}.") from error
        if not os.access(directory, os.W_OK | os.X_OK):
            raise ServeError(f"--data-dir: {directory} is not writable.")


def _empty(redis_dir: Path) -> None:
    """Delete the messages of a database that was deleted."""
    for path in redis_dir.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _welcome(address: str, page: str, data_dir: Path, log_dir: Path) -> str:
    return f"""
DSPT is ready.
  Page   {page}
  API    {address}       POST a zip of labelled photos to /jobs
  Docs   {address}/docs
  Data   {data_dir}
  Logs   {log_dir}
Press Ctrl-C to stop."""
