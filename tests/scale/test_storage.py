"""Files of other processes: seen at once, and whole whenever the writer dies."""

from __future__ import annotations

import io
import multiprocessing
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from app.kit.settings import Settings
from app.kit.storage import Storage, open_storage
from app.kit.storage.objects import PART_BYTES
from tests.s3_server import CREDENTIALS, S3Server, s3_server
from tests.services import wait_until

pytestmark = pytest.mark.slow

KILLS, ROUNDS = 100, 1000
#: Two parts of an upload, and one.
SIZES = (PART_BYTES + 1, 100_000)
_FORK = multiprocessing.get_context("forkserver")  # not of this process, which has used a bucket


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(params=["folder", "bucket"])
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    _FORK.set_forkserver_preload([__name__])
    if request.param == "folder":
        return Settings(storage_url=(tmp_path / "root").as_uri())
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    server: S3Server = request.getfixturevalue("s3")
    return Settings(storage_url=server.new_url(), s3_endpoint=server.endpoint)


@contextmanager
def other_process(target: Callable[..., None], *arguments: Any) -> Iterator[Any]:
    process = _FORK.Process(target=target, args=arguments, daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def opened(settings: Settings) -> Storage:
    """Open it in a process that has the environment of the first one that was forked."""
    os.environ |= CREDENTIALS
    return open_storage(settings)


def write_for_ever(settings: Settings, told: Connection) -> None:
    storage = opened(settings)
    number = 0
    while True:
        number += 1
        for size in SIZES:
            storage.put(f"file-{size}", io.BytesIO(bytes([number % 256]) * size))
        told.send(number)


def test_a_writer_killed_at_any_time_leaves_whole_files(settings: Settings) -> None:
    rng, storage = random.Random(1), open_storage(settings)
    for size in SIZES:
        storage.put(f"file-{size}", io.BytesIO(bytes(size)))
    for _ in range(KILLS):
        here, there = _FORK.Pipe(duplex=False)
        with other_process(write_for_ever, settings, there):
            wait_until(here.poll, 120, "the first files")
            time.sleep(rng.uniform(0, 0.2))
        here.close()
        there.close()
        for size in SIZES:
            content = storage.read_bytes(f"file-{size}")
            assert len(content) == size
            assert content == content[:1] * size  # of one write
    # Temporary files of a folder stay; the garbage collector knows them by their names.
    names = {file.name for file in storage.files() if not file.name.startswith(".")}
    assert names == {f"file-{size}" for size in SIZES}


def look(settings: Settings, line: Connection) -> None:
    """Answer each message with what is in the file `a`, and in the storage."""
    storage = opened(settings)
    while True:
        line.recv()
        try:
            content = storage.read_bytes("a")
        except FileNotFoundError:
            content = b""
        line.send((content, [file.name for file in storage.files()]))


def test_files_of_another_process_are_never_seen_late(settings: Settings) -> None:
    storage = open_storage(settings)
    here, there = _FORK.Pipe()
    with other_process(look, settings, there):

        def seen() -> tuple[bytes, list[str]]:
            here.send(None)
            found: tuple[bytes, list[str]] = here.recv()
            return found

        for number in range(ROUNDS):
            storage.put_bytes("a", str(number).encode())
            assert seen() == (str(number).encode(), ["a"])
            storage.delete("a")
            assert seen() == (b"", [])
    here.close()
    there.close()
