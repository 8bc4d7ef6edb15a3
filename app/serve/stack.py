"""What `dspt serve` consists of: a private Redis, one worker and the API on one data directory."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from app.access.binding import BindingRefused, check_binding
from app.kit.settings import Settings
from app.serve.broker import Broker, place_broker, redis_program
from app.serve.errors import ServeError
from app.serve.lock import Holder, lock_data_dir
from app.serve.part import Plan
from app.serve.supervisor import supervising
from dspt.kit.cpus import available_cpus, set_thread_defaults

#: A long append-only file is read first; the API and the worker import large libraries.
_REDIS_PATIENCE, _API_PATIENCE, _WORKER_PATIENCE = 120.0, 120.0, 120.0
#: More than the API itself allows for each of its checks.
_PROBE_SECONDS = 4.0
#: A job yields to requests: a prediction is waited for, a job is not.
_WORKER_NICE = 5


def serve(data_dir: Path, host: str, port: int, say: Callable[[str], None]) -> None:
    """Run the stack until a stop is asked for by signal.

    Port 0 takes a free one. `say` gets what the user should read. Raises ServeError if the stack
    cannot start, or when a part of it dies.
    """
    _refuse_outside_services(os.environ)
    try:
        check_binding(host, Settings(data_dir=data_dir).database_url)
    except BindingRefused as error:
        raise ServeError(str(error)) from error
    listener = _bind(host, port)
    with listener:
        address = _url(listener)
        log_dir = data_dir / "logs"
        _make_private(data_dir, log_dir, data_dir / "redis")
        with lock_data_dir(data_dir / "serve.lock") as lock:
            lock.describe(Holder(os.getpid(), address))
            say(f"Starting DSPT on {data_dir} ...")
            broker = place_broker(data_dir / "redis")
            environment = _environment(data_dir, broker)
            with supervising(log_dir, lock.file, say) as supervisor:
                up = supervisor.start([_redis(broker)]) and supervisor.start(
                    [_api(listener, environment), _worker(listener, environment)]
                )
                if up:
                    say(_welcome(address, data_dir, log_dir))
                    supervisor.watch()
                say("Stopping ...")
            say("DSPT has stopped.")


def _redis(broker: Broker) -> Plan:
    config = broker.directory / "redis.conf"
    descriptor = os.open(config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(broker.config())
    return Plan(
        name="redis",
        command=[redis_program(), str(config)],
        environment=dict(os.environ),
        ready=broker.answers,
        patience=_REDIS_PATIENCE,
    )


def _api(listener: socket.socket, environment: Mapping[str, str]) -> Plan:
    threads = max(1, available_cpus() // 2)
    return Plan(
        name="api",
        command=[
            sys.executable,
            "-P",
            "-m",
            "app.cli",
            "api",
            "--socket-fd",
            str(listener.fileno()),
        ],
        environment=_with_threads(environment, threads),
        ready=lambda: _readiness(listener) is not None,
        patience=_API_PATIENCE,
        pass_fds=[listener.fileno()],
    )


def _worker(listener: socket.socket, environment: Mapping[str, str]) -> Plan:
    def ready() -> bool:
        report = _readiness(listener)
        return report is not None and report["checks"]["workers"]["count"] > 0

    return Plan(
        name="worker",
        command=[sys.executable, "-P", "-c", "from worker.cli import worker; worker()"],
        environment=_with_threads(environment, available_cpus()),
        ready=ready,
        patience=_WORKER_PATIENCE,
        nice=_WORKER_NICE,
    )


def _environment(data_dir: Path, broker: Broker) -> dict[str, str]:
    return os.environ | {
        "DSPT_DATA_DIR": str(data_dir),
        "DSPT_BROKER_URL": broker.url,
        "PYTHONUNBUFFERED": "1",
        # `app` and `worker` are names of the user's, too: never import from the current folder.
        "PYTHONSAFEPATH": "1",
    }


def _with_threads(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    result = dict(environment)
    set_thread_defaults(result, threads)
    return result


def _refuse_outside_services(environment: Mapping[str, str]) -> None:
    """`dspt serve` brings its own; to ignore what the user has set would surprise him."""
    for name in ("DSPT_DATABASE_URL", "DSPT_BROKER_URL", "DSPT_STORAGE_URL"):
        if environment.get(name):
            raise ServeError(
                f"{name} is set, but `dspt serve` brings its own database, broker and storage "
                f"under its data directory. Unset {name}, or run `dspt api` and `dspt worker` "
                "against your services."
            )


def _bind(host: str, port: int) -> socket.socket:
    """Take the port now; the API listens on it once it is up, and until then it refuses."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise ServeError(
            f"--host {host}: not an address of this machine ({error.strerror})."
        ) from error
    family, _, _, _, address = addresses[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ServeError(
            f"Port {port} of {host} cannot be used: {error.strerror}. Something else may listen "
            "there; choose another with --port (0 takes a free one)."
        ) from error
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _readiness(listener: socket.socket) -> dict[str, Any] | None:
    """The report of /health/ready, or None while the API is not ready."""
    host, port = listener.getsockname()[:2]
    connection = http.client.HTTPConnection(host, port, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", "/health/ready")
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException):  # it does not listen yet, or is going
        return None
    finally:
        connection.close()
    if response.status != http.client.OK:
        return None
    report: dict[str, Any] = json.loads(body)
    return report


def _make_private(*directories: Path) -> None:
    for directory in directories:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ServeError(
                f"--data-dir: {directory} cannot be made: {error.strerror}."
            ) from error
        if not os.access(directory, os.W_OK | os.X_OK):
            raise ServeError(f"--data-dir: {directory} cannot be written to.")


def _welcome(address: str, data_dir: Path, log_dir: Path) -> str:
    return f"""
DSPT is ready.
  API    {address}       POST a zip of labelled photos to /jobs
  Docs   {address}/docs
  Data   {data_dir}
  Logs   {log_dir}
Press Ctrl-C to stop."""
