"""Files in a folder and in a store that is not local."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from app.kit.storage import Storage, StorageUnavailable


@pytest.fixture(params=["file", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "file":
        return Storage((tmp_path / "root").as_uri())
    return Storage(f"memory://{tmp_path.name}")


def test_stored_bytes_can_be_read(storage: Storage) -> None:
    storage.put_bytes("a/b.txt", b"one")
    storage.put("a/c.txt", io.BytesIO(b"two"))
    assert [storage.read_bytes(key) for key in ("a/b.txt", "a/c.txt")] == [b"one", b"two"]
    with storage.local_copy("a/c.txt") as path:
        assert path.read_bytes() == b"two"
        assert path.name == "c.txt"


def test_storing_again_replaces(storage: Storage) -> None:
    storage.put_bytes("a", b"one")
    storage.put_bytes("a", b"two")
    assert storage.read_bytes("a") == b"two"


def test_a_missing_file(storage: Storage) -> None:
    storage.delete("a/b")
    with pytest.raises(FileNotFoundError):
        storage.read_bytes("a/b")
    with pytest.raises(FileNotFoundError), storage.local_copy("a/b"):
        pass


def test_a_file_is_moved_whole(storage: Storage) -> None:
    storage.put_bytes("a/b", b"x")
    (stored,) = storage.files()
    storage.move(stored.name, "trash/2026-01-02/a/b")
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
def test_keys_cannot_leave_the_storage(storage: Storage, key: str) -> None:
    with pytest.raises(ValueError, match="not a storage key"):
        storage.put_bytes(key, b"x")
    with pytest.raises(ValueError, match="not a storage key"):
        storage.read_bytes(key)


def test_a_write_that_breaks_off_leaves_nothing(storage: Storage) -> None:
    storage.put_bytes("a", b"old")

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(4)
            if not data:
                raise OSError("the line went dead")
            return data

    with pytest.raises(OSError, match="dead"):
        storage.put("a", Broken(b"new content"))
    assert storage.read_bytes("a") == b"old"
    assert [file.name for file in storage.files()] == ["a"]


def test_files_of_other_processes_are_seen(storage: Storage) -> None:
    assert list(storage.files()) == []
    Storage(storage.url).put_bytes("a/b", b"x")
    assert [file.name for file in storage.files()] == ["a/b"]


def test_errors_of_a_bucket_are_of_one_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its library's are neither OSError nor known here."""
    storage = Storage("memory://errors")

    def fail(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("no route to the bucket")

    for method in ("get_file", "put_file", "rm_file", "find", "exists", "mv"):
        monkeypatch.setattr(type(storage._fs), method, fail)
    for call in (
        lambda: storage.read_bytes("a"),
        lambda: storage.put_bytes("a", b"x"),
        lambda: storage.delete("a"),
        lambda: list(storage.files()),
        storage.probe,
        lambda: storage.move("a", "b"),
    ):
        with pytest.raises(StorageUnavailable, match="no route"):
            call()


def test_check(storage: Storage, tmp_path: Path) -> None:
    storage.check()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        Storage((tmp_path / "file").as_uri()).check()


def test_probe_writes_nothing(tmp_path: Path) -> None:
    Storage((tmp_path / "not" / "yet").as_uri()).probe()
    assert not list(tmp_path.iterdir())
    Storage("memory://probe").probe()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        Storage((tmp_path / "file").as_uri()).probe()
