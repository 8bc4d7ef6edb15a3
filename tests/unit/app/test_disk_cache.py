"""A cache on disk that processes share: the limit, and what goes first."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from app.kit.disk_cache import DiskCache

LIMIT = 16_000  # files of up to 1,000 bytes are kept


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_the_least_recently_used_go_and_the_limit_holds(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "cache", LIMIT)
    for number in range(100):
        cache.put(str(number), bytes([number]) * 900)
        os.utime(tmp_path / "cache" / str(number), (number, number))
        assert cache.get("0") == bytes(900)  # in use
        assert size_of(tmp_path / "cache") <= LIMIT
    assert cache.get("98") == bytes([98]) * 900
    assert cache.get("1") is None


def test_processes_share_it_and_another_limit_holds_from_the_next_write(tmp_path: Path) -> None:
    one, two = DiskCache(tmp_path, LIMIT), DiskCache(tmp_path, LIMIT)
    one.put("a", b"first")
    assert two.get("a") == b"first"
    two.put("a", b"second")
    assert one.get("a") == b"second"
    for number in range(50):
        for cache in (one, two):
            cache.put(f"{id(cache)}-{number}", bytes(1000))
            assert size_of(tmp_path) <= LIMIT * 17 / 16
    smaller = DiskCache(tmp_path, LIMIT // 4)
    smaller.put("b", bytes(100))
    assert size_of(tmp_path) <= LIMIT // 4


def test_large_files_are_not_kept_and_none_without_a_limit(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "cache", LIMIT)
    cache.put("large", bytes(1001))
    DiskCache(tmp_path / "cache", 0).put("small", b"x")
    assert cache.get("large") is None
    assert not (tmp_path / "cache").exists()


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = DiskCache(tmp_path / "file", LIMIT)
    cache.put("a", b"x")
    assert cache.get("a") is None


def test_the_folder_may_be_deleted_at_any_time(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "cache", LIMIT)
    cache.put("a", b"x")
    shutil.rmtree(tmp_path / "cache")
    assert cache.get("a") is None
    cache.put("a", b"x")
    assert cache.get("a") == b"x"


def test_what_a_dead_writer_left_counts_and_goes(tmp_path: Path) -> None:
    (tmp_path / "tmp123").write_bytes(bytes(LIMIT))
    os.utime(tmp_path / "tmp123", (0, 0))
    cache = DiskCache(tmp_path, LIMIT)
    cache.put("a", b"x")
    assert [each.path.name for each in cache.files()] == ["a"]
