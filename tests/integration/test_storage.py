"""Files in a folder, in a bucket of a real S3 server, and in memory as in a bucket."""

from __future__ import annotations

import errno
import io
import secrets
import threading
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore

from app.kit.settings import Settings
from app.kit.storage import Storage, StorageUnavailable, open_storage
from app.kit.storage.objects import PART_BYTES, ObjectStorage
from app.kit.storage.ranged import BLOCK_BYTES
from tests.proxy import proxy_to_port
from tests.s3_server import S3Server, full_server

Opener = Callable[[], Storage]


@pytest.fixture(params=["folder", "bucket", "memory"])
def again(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Opens the same storage, which is empty at first, as another process would."""
    if request.param == "folder":
        return lambda: opened((tmp_path / "root").as_uri())
    if request.param == "memory":
        store = MemoryStore()
        return lambda: ObjectStorage(store, "memory://")
    return in_bucket(request.getfixturevalue("s3"))


@pytest.fixture
def storage(again: Opener) -> Storage:
    return again()


def opened(url: str, **settings: Any) -> Storage:
    return open_storage(Settings(storage_url=url, **settings))


def in_bucket(server: S3Server, **settings: Any) -> Opener:
    """Opens the storage under a prefix that no other test uses."""
    url = server.new_url()
    return lambda: opened(url, **{"s3_endpoint": server.endpoint, **settings})


def test_stored_bytes_can_be_read(storage: Storage) -> None:
    storage.put_bytes("a/b.txt", b"one")
    storage.put("a/c.txt", io.BytesIO(b"two"))
    storage.put_bytes("empty", b"")
    assert [storage.read_bytes(k) for k in ("a/b.txt", "a/c.txt", "empty")] == [b"one", b"two", b""]
    with storage.local_copy("a/c.txt") as path:
        assert path.read_bytes() == b"two"
        assert path.name == "c.txt"
    with storage.open("a/b.txt") as file:
        assert file.read() == b"one"


def test_a_listing_has_sizes_and_times(storage: Storage) -> None:
    names = {f"a/{number}" for number in range(30)} | {"b"}
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda name: storage.put_bytes(name, b"four"), names))
    files = list(storage.files())
    assert {file.name for file in files} == names
    assert {file.size_bytes for file in files} == {4}
    for file in files:
        assert abs(file.modified_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_listing_of_a_folder(storage: Storage) -> None:
    for name in ("a/b/c", "a/b/d", "a/bc", "a/b.txt", "b"):
        storage.put_bytes(name, b"x")
    assert {file.name for file in storage.files("a/b")} == {"a/b/c", "a/b/d"}
    assert list(storage.files("c/d")) == []


def test_storing_again_replaces(storage: Storage) -> None:
    storage.put_bytes("a", b"one")
    storage.put_bytes("a", b"two")
    assert storage.read_bytes("a") == b"two"


def test_of_many_creators_one_succeeds(again: Opener) -> None:
    writers = 8
    start = threading.Barrier(writers)

    def create(number: int) -> int | None:
        storage = again()
        start.wait()
        try:
            storage.create("a", str(number).encode())
        except FileExistsError:
            return None
        return number

    with ThreadPoolExecutor(writers) as threads:
        [winner] = [n for n in threads.map(create, range(writers)) if n is not None]
    assert again().read_bytes("a") == str(winner).encode()
    assert [file.name for file in again().files()] == ["a"]


def test_a_missing_file(storage: Storage) -> None:
    storage.delete("a/b")
    with pytest.raises(FileNotFoundError):
        storage.read_bytes("a/b")
    with pytest.raises(FileNotFoundError), storage.local_copy("a/b"):
        pass
    with pytest.raises(FileNotFoundError), storage.open("a/b"):
        pass


def test_a_file_is_moved_whole(storage: Storage) -> None:
    storage.put_bytes("a/b", b"x")
    storage.put_bytes("trash/2026-01-02/a/b", b"an older one")
    storage.move("a/b", "trash/2026-01-02/a/b")
    assert [file.name for file in storage.files()] == ["trash/2026-01-02/a/b"]
    assert storage.read_bytes("trash/2026-01-02/a/b") == b"x"
    with pytest.raises(FileNotFoundError):
        storage.move("a/b", "trash/2026-01-02/a/b")


def test_deleting(storage: Storage) -> None:
    storage.put_bytes("a/b", b"x")
    storage.delete("a/b")
    assert list(storage.files()) == []


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../a", "a/../b", "a//b", "a/", ".hidden", "a b", "a\n", "a\x00"]
)
def test_keys_cannot_leave_the_storage(tmp_path: Path, key: str) -> None:
    for storage in (opened(tmp_path.as_uri()), ObjectStorage(MemoryStore(), "memory://")):
        for call in (
            partial(storage.put_bytes, key, b"x"),
            partial(storage.put, key, io.BytesIO(b"x")),
            partial(storage.create, key, b"x"),
            partial(storage.read_bytes, key),
            partial(storage.delete, key),
        ):
            with pytest.raises(ValueError, match="not a storage key"):
                call()


class Broken(io.RawIOBase):
    """A stream that breaks off after some bytes."""

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int = -1, /) -> bytes:
        if not self._left:
            raise OSError("the line went dead")
        given = min(size, self._left, 100_000)
        self._left -= given
        return b"n" * given


@pytest.mark.parametrize("size", [10, 3 * PART_BYTES])
def test_a_write_that_breaks_off_leaves_nothing(storage: Storage, size: int) -> None:
    storage.put_bytes("a", b"old")
    for key in ("a", "b"):
        with pytest.raises(OSError, match="dead"):
            storage.put(key, Broken(size))  # type: ignore[arg-type]
    assert storage.read_bytes("a") == b"old"
    assert [file.name for file in storage.files()] == ["a"]


def test_a_large_file_goes_in_parts(storage: Storage) -> None:
    content = secrets.token_bytes(1024) * (2 * PART_BYTES // 1024) + b"end"
    storage.put("a", io.BytesIO(content))
    with storage.local_copy("a") as path:
        assert path.read_bytes() == content


def test_parts_of_a_file_are_read(storage: Storage) -> None:
    content = secrets.token_bytes(3 * BLOCK_BYTES + 5)
    storage.put_bytes("a", content)
    with storage.remote_file("a").open("rb", 0) as file:
        assert file.seek(0, io.SEEK_END) == len(content)
        assert file.read(1) == b""
        file.seek(5)
        assert (file.read(2), file.tell()) == (content[5:7], 7)
    for start, end in [(BLOCK_BYTES - 2, BLOCK_BYTES + 2), (7, len(content)), (0, len(content))]:
        with io.BufferedReader(storage.remote_file("a").open("rb", 0)) as buffered:
            buffered.seek(start)
            assert buffered.read(end - start) == content[start:end]
    with pytest.raises(FileNotFoundError):
        storage.remote_file("b")


def test_a_member_of_a_zip_costs_few_requests_and_no_copy(s3: S3Server) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for number in range(40):
            file.writestr(f"a/{number}.bin", bytes([number]) * 500_000)
    storage = in_bucket(s3)()
    storage.put("a", io.BytesIO(archive.getvalue()))
    before = s3.requests()
    with zipfile.ZipFile(io.BufferedReader(storage.remote_file("a").open("rb", 0))) as stored:
        assert stored.read("a/20.bin") == bytes([20]) * 500_000
        assert s3.requests() - before <= 4  # size, directory, one or two blocks
        for number in range(40):
            assert stored.read(f"a/{number}.bin") == bytes([number]) * 500_000
    assert s3.requests() - before <= 22  # 20 MB in blocks of 1 MiB


def test_files_of_other_processes_are_seen_at_once(again: Opener) -> None:
    one, other = again(), again()
    for number in range(20):
        assert list(one.files()) == []
        other.put_bytes("a/b", str(number).encode())
        assert one.read_bytes("a/b") == str(number).encode()
        assert [file.name for file in one.files()] == ["a/b"]
        other.delete("a/b")
        with pytest.raises(FileNotFoundError):
            one.read_bytes("a/b")


def test_check_leaves_nothing(storage: Storage) -> None:
    storage.check()
    assert list(storage.files()) == []


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    storage = opened((tmp_path / "file").as_uri())
    with pytest.raises(OSError, match="file"):
        storage.check()
    with pytest.raises(NotADirectoryError):
        storage.probe()


def test_probe_writes_nothing(again: Opener) -> None:
    again().probe()
    assert list(again().files()) == []


def calls(storage: Storage) -> dict[str, Callable[[], Any]]:
    return {
        "read": lambda: storage.read_bytes("a"),
        "write": lambda: storage.put_bytes("a", b"x"),
        "write a stream": lambda: storage.put("a", io.BytesIO(b"x" * (PART_BYTES + 1))),
        "create": lambda: storage.create("b", b"x"),
        "delete": lambda: storage.delete("a"),
        "list": lambda: list(storage.files()),
        "probe": storage.probe,
        "move": lambda: storage.move("a", "b"),
    }


def check_unavailable(storage: Storage, reason: str, seconds: float) -> None:
    for name, call in calls(storage).items():
        start = time.monotonic()
        with pytest.raises(StorageUnavailable, match=reason) as caught:
            call()
        assert time.monotonic() - start < seconds, name
        assert "Debug source" not in str(caught.value)


def test_a_server_that_is_away(s3_credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.kit.storage.s3._FIRST_PAUSE", timedelta(milliseconds=5))
    storage = opened("s3://b/a", s3_endpoint="http://127.0.0.1:9")
    check_unavailable(storage, "HTTP error", 3)


def test_a_wrong_secret(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    check_unavailable(in_bucket(s3)(), "SignatureDoesNotMatch|403", 3)


def test_a_missing_bucket(s3: S3Server) -> None:
    storage = opened("s3://missing", s3_endpoint=s3.endpoint)
    with pytest.raises(StorageUnavailable, match="NoSuchBucket"):
        storage.read_bytes("a")
    with pytest.raises(StorageUnavailable, match="NoSuchBucket"):
        storage.probe()


def test_a_full_bucket(s3_credentials: None) -> None:
    with full_server() as endpoint:
        storage = opened("s3://b/a", s3_endpoint=endpoint)
        storage.probe()
        with pytest.raises(OSError, match="StorageFull") as caught:
            storage.put_bytes("a", b"x")
        assert caught.value.errno == errno.ENOSPC


def test_a_server_that_never_answers(s3: S3Server) -> None:
    with proxy_to_port(s3.port) as proxy:
        again = in_bucket(
            s3, s3_endpoint=f"http://127.0.0.1:{proxy.port}", storage_timeout_seconds=0.3
        )
        storage = again()
        storage.put_bytes("a", b"x")
        storage.probe()
        proxy.freeze()
        storage.probe()  # it answered a moment ago
        # Sending a part has a few seconds more.
        check_unavailable(storage, "did not answer", 6)
        proxy.thaw()


def test_urls_that_are_not_supported() -> None:
    for url in ("gs://bucket", "memory://a", "s3://key:secret@bucket/a", "s3:///a"):
        with pytest.raises(ValueError, match="s3://BUCKET/PREFIX"):
            opened(url)
