"""The feature store: what it gives back, its bound, other processes, and what goes wrong."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dspt.features.store import FeatureStore

VIT, RN = "a" * 64, "b" * 64
"""Digests of two backbones."""

# Writes batches of features whose every value is the batch's number, and says so on stdout.
WRITER = """
import itertools, sys
import numpy as np
from pathlib import Path
from dspt.features.store import FeatureStore

folder, name, batches = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = FeatureStore(folder, on_failure=sys.exit)
print("ready", flush=True)
sys.stdin.readline()
for batch in itertools.count() if batches < 0 else range(batches):
    value = np.full(512, batch, np.float32)
    store.put("a" * 64, [(f"{name}-{batch}-{i}", 0, value) for i in range(32)])
    print(batch, flush=True)
"""


def feature(value: float, size: int = 512) -> NDArray[np.float32]:
    return np.full(size, value, np.float32)


def writer(folder: Path, name: str, batches: int) -> subprocess.Popen[str]:
    """A process that is ready to write and begins at the first line on its stdin."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), name, str(batches)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def bytes_on_disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def test_gives_back_the_very_bits_even_to_a_later_process(tmp_path: Path) -> None:
    features = np.random.default_rng(3).normal(size=(4, 512)).astype(np.float32)
    store = FeatureStore(tmp_path / "not" / "yet")
    store.put(VIT, [("photo", 0, features[0]), ("photo", 2, features[1]), ("x", 0, features[2])])

    for reader in (store, FeatureStore(tmp_path / "not" / "yet")):
        found = reader.get(VIT, "photo", range(4))
        assert found.keys() == {0, 2}
        assert np.array_equal(found[0], features[0])
        assert np.array_equal(found[2], features[1])
        assert found[0].dtype == np.float32
        found[0] += 1  # the caller's own memory
        assert np.array_equal(reader.get(VIT, "photo", [0])[0], features[0])


def test_gives_only_the_views_asked_for(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.put(VIT, [("photo", view, feature(view)) for view in range(3)])
    assert store.get(VIT, "photo", [1]).keys() == {1}
    assert store.get(VIT, "photo", [7]) == {}
    assert store.get(VIT, "other", [0]) == {}


def test_backbones_do_not_mix(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.put(VIT, [("photo", 0, feature(1))])
    assert store.get(RN, "photo", [0]) == {}
    store.put(RN, [("photo", 0, feature(2, size=1024))])
    assert np.array_equal(store.get(VIT, "photo", [0])[0], feature(1))
    assert np.array_equal(store.get(RN, "photo", [0])[0], feature(2, size=1024))


def test_keeps_half_precision_features_as_float32(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.put(VIT, [("photo", 0, feature(0.1).astype(np.float16))])
    assert np.array_equal(store.get(VIT, "photo", [0])[0], feature(0.1).astype(np.float16))


def test_a_second_put_replaces_the_first(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.put(VIT, [("photo", 0, feature(1))])
    store.put(VIT, [("photo", 0, feature(2))])
    assert np.array_equal(store.get(VIT, "photo", [0])[0], feature(2))


def test_stays_within_its_limit_and_drops_what_was_used_least_recently(tmp_path: Path) -> None:
    limit = 256 << 10  # of entries of 2 KiB
    store = FeatureStore(tmp_path, limit=limit)
    store.put(VIT, [("always used", 0, feature(-1))])
    largest = 0
    for batch in range(100):
        store.put(VIT, [(f"{batch}-{i}", 0, feature(batch)) for i in range(8)])
        assert store.get(VIT, "always used", [0]), f"dropped at batch {batch}"
        largest = max(largest, (tmp_path / "features.sqlite").stat().st_size)
    # A batch is written before the eviction that makes room for it.
    assert limit / 2 < largest < limit + (64 << 10)
    assert all(store.get(VIT, f"99-{i}", [0]) for i in range(8))
    kept = [batch for batch in range(100) if store.get(VIT, f"{batch}-0", [0])]
    assert kept == list(range(kept[0], 100)), "the oldest go first"
    assert 5 < len(kept) < 20
    # SQLite's log of changes is bounded too, by its own checkpoints of about 4 MiB.
    assert bytes_on_disk(tmp_path) < limit + (5 << 20)


def test_evicts_even_where_all_entries_are_equally_old(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, limit=64 << 10)
    store.put(VIT, [(str(i), 0, feature(i)) for i in range(200)])
    store.put(VIT, [("new", 0, feature(1))])
    assert store.get(VIT, "new", [0])
    assert sum(bool(store.get(VIT, str(i), [0])) for i in range(200)) == 0


def test_a_store_over_a_lowered_limit_shrinks(tmp_path: Path) -> None:
    large = FeatureStore(tmp_path)
    for batch in range(20):
        large.put(VIT, [(f"{batch}-{i}", 0, feature(batch)) for i in range(8)])
    small = FeatureStore(tmp_path, limit=64 << 10)
    for batch in range(20, 30):
        small.put(VIT, [(f"{batch}-0", 0, feature(batch))])
    kept = sum(bool(small.get(VIT, f"{b}-{i}", [0])) for b in range(20) for i in range(8))
    assert kept < 32
    assert small.get(VIT, "29-0", [0])


def test_threads_share_it(tmp_path: Path) -> None:
    failures: list[str] = []
    store = FeatureStore(tmp_path, on_failure=failures.append)

    def work(name: int) -> None:
        for i in range(20):
            store.put(VIT, [(f"{name}-{i}", 0, feature(name))])
            store.get(VIT, f"{name}-{i - 1}", [0])

    threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for name in range(6):
        for i in range(20):
            assert np.array_equal(store.get(VIT, f"{name}-{i}", [0])[0], feature(name))


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    batches = 40
    processes = [writer(tmp_path, name, batches) for name in ("left", "right")]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=600)
        assert process.returncode == 0
    store = FeatureStore(tmp_path)
    for name in ("left", "right"):
        for batch in range(batches):
            for i in range(32):
                found = store.get(VIT, f"{name}-{batch}-{i}", [0])
                assert np.array_equal(found[0], feature(batch))


def test_a_killed_writer_leaves_a_store_that_reads_and_writes(tmp_path: Path) -> None:
    process = writer(tmp_path, "victim", -1)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    acknowledged = [int(process.stdout.readline()) for _ in range(30)]
    process.kill()
    written, _ = process.communicate(timeout=600)
    acknowledged += [int(line) for line in written.splitlines()]

    failures: list[str] = []
    store = FeatureStore(tmp_path, on_failure=failures.append)
    for batch in acknowledged:
        for i in range(32):
            found = store.get(VIT, f"victim-{batch}-{i}", [0])
            assert np.array_equal(found[0], feature(batch))
    # The batch that it was in the middle of is there as a whole, or not at all.
    after = [bool(store.get(VIT, f"victim-{len(acknowledged)}-{i}", [0])) for i in range(32)]
    assert len(set(after)) == 1
    store.put(VIT, [("later", 0, feature(5))])
    assert np.array_equal(store.get(VIT, "later", [0])[0], feature(5))
    assert failures == []
    connection = sqlite3.connect(tmp_path / "features.sqlite")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.parametrize("damage", ["no database", "no folder", "no table"])
def test_a_store_that_cannot_be_used_says_so_once_and_is_empty(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "store"
    failures: list[str] = []
    if damage == "no database":
        folder.mkdir()
        (folder / "features.sqlite").write_bytes(b"not a database, and longer than its header" * 99)
    elif damage == "no folder":
        folder.write_bytes(b"")
    store = FeatureStore(folder, on_failure=failures.append)
    if damage == "no table":
        connection = sqlite3.connect(folder / "features.sqlite")
        connection.execute("DROP TABLE features")
        connection.close()
    store.put(VIT, [("photo", 0, feature(1))])
    store.put(VIT, [("photo", 0, feature(1))])
    assert store.get(VIT, "photo", [0]) == {}
    assert len(failures) == 1
    assert str(folder / "features.sqlite") in failures[0]


def test_entries_of_the_first_version_are_not_read(tmp_path: Path) -> None:
    """They hold embeddings alone, under the digest of the backbone."""
    store = FeatureStore(tmp_path, on_failure=pytest.fail)
    row = (VIT, "photo", 0, feature(1).tobytes(), 0.0)
    with closing(sqlite3.connect(tmp_path / "features.sqlite")) as connection, connection:
        connection.execute("INSERT INTO features VALUES (?, ?, ?, ?, ?)", row)
    assert store.get(VIT, "photo", [0]) == {}
    store.put(VIT, [("photo", 0, feature(2))])
    assert np.array_equal(store.get(VIT, "photo", [0])[0], feature(2))


def test_a_full_disk_does_not_raise(tmp_path: Path) -> None:
    failures: list[str] = []
    store = FeatureStore(tmp_path, on_failure=failures.append)
    store.put(VIT, [("first", 0, feature(1))])
    # SQLite's own error for it: no page more than there are.
    store._connection().execute("PRAGMA max_page_count = 1")
    store.put(VIT, [(str(i), 0, feature(i)) for i in range(100)])
    assert len(failures) == 1
    assert "full" in failures[0]
    assert np.array_equal(FeatureStore(tmp_path).get(VIT, "first", [0])[0], feature(1))
