"""The private Redis: its configuration and address."""

from __future__ import annotations

import re
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path

import redis

from app.kit.redis_url import redis_url
from app.serve.listener import SOCKET_PATH_BYTES
from app.serve.redis_program import RedisProgram, find_redis

#: Characters with no special meaning in a URL or in Redis' configuration file.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._+-]+")


@dataclass(frozen=True)
class Broker:
    """Address and configuration of the private Redis."""

    url: str
    """For Celery."""
    directory: Path
    listen: tuple[str, ...]
    """Lines of the configuration: the address, and who may connect."""
    program: RedisProgram = field(default_factory=find_redis)

    def config(self) -> str:
        """Return the text of the configuration file."""
        directory = str(self.directory).replace("\\", "\\\\").replace('"', '\\"')
        lines = [
            f'dir "{directory}"',
            "daemonize no",
            "appendonly yes",
            f"appendfilename {self.program.append_file}",
            "appendfsync everysec",
            'save ""',  # the append-only file holds everything; a snapshot would repeat it
            "maxmemory-policy noeviction",  # a queue must not drop messages
            "databases 1",
            *self.listen,
        ]
        return "\n".join(lines) + "\n"

    def answers(self) -> bool:
        """Return whether Redis is up and has read its append-only file."""
        with redis.Redis.from_url(redis_url(self.url), socket_timeout=2) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:  # not up yet, or still reading its file
                return False


def place_broker(directory: Path) -> Broker:
    """Return a unix socket in `directory`; a free loopback port if the path is too long or odd."""
    path = directory / "redis.sock"
    if len(bytes(path)) <= SOCKET_PATH_BYTES and _PLAIN_PATH.fullmatch(str(path)):
        listen = ("port 0", f'unixsocket "{path}"', "unixsocketperm 700")
        return Broker(f"redis+socket://{path}", directory, listen)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    password = secrets.token_urlsafe(24)  # other users of the machine can reach a loopback port
    listen = (f"port {port}", "bind 127.0.0.1", f"requirepass {password}")
    return Broker(f"redis://:{password}@127.0.0.1:{port}/0", directory, listen)
