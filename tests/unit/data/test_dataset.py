from __future__ import annotations

import gc
import hashlib
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from dataset_files import encoded, noise, two_classes, write_folder, write_zip

from dspt.data import Dataset, Item, Limits, dataset_digest, load_dataset, read_image
from dspt.data.reading import read_all
from dspt.data.source import Source
from dspt.errors import Cancelled, DatasetError, ImageError


def test_the_digest_is_over_path_class_split_and_content(tmp_path: Path) -> None:
    files = two_classes()
    with load_dataset(write_zip(tmp_path / "data.zip", files)) as data:
        lines = [
            f"{name}\0{name[:3]}\0train\0{hashlib.sha256(content).hexdigest()}\n"
            for name, content in sorted(files.items())
        ]
        assert data.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()
        assert data.hashes == tuple(hashlib.sha256(files[i.path]).hexdigest() for i in data.items)


def test_the_digest_changes_with_each_of_them() -> None:
    entry = ("cat/1.jpg", "cat", "train", "00")
    changed = [(*entry[:i], "x", *entry[i + 1 :]) for i in range(4)]
    assert len({dataset_digest([e]) for e in (entry, *changed)}) == 5
    assert dataset_digest([entry, changed[0]]) == dataset_digest([changed[0], entry])


def test_rejected_files_do_not_count_in_the_digest(tmp_path: Path) -> None:
    plain = write_zip(tmp_path / "a.zip", two_classes())
    more = write_zip(tmp_path / "b.zip", two_classes() | {"cat/notes.txt": b"x"})
    with load_dataset(plain) as a, load_dataset(more) as b:
        assert a.sha256 == b.sha256


def test_to_dict_is_json(tmp_path: Path) -> None:
    with load_dataset(write_zip(tmp_path / "a.zip", two_classes() | {"cat/x.jpg": b""})) as data:
        assert json.loads(json.dumps(data.to_dict())) == {
            "sha256": data.sha256,
            "images": 4,
            "classes": ["cat", "dog"],
            "rejected": [{"file": "cat/x.jpg", "reason": "the file is empty (0 bytes)"}],
            "split": {"train": 4, "val": 0, "test": 0},
            "unlabelled": 0,
        }


def test_of_very_many_rejected_files_a_thousand_are_named(tmp_path: Path) -> None:
    files = two_classes() | {f"cat/{i}.txt": b"" for i in range(1003)}
    with load_dataset(write_zip(tmp_path / "a.zip", files)) as data:
        assert len(data.rejected) == 1003
        told = data.to_dict()["rejected"]
    assert len(told) == 1001
    assert told[-1] == {"file": "", "reason": "and 3 more files"}


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_images_are_read_again_from_many_threads(tmp_path: Path, form: str) -> None:
    images = {f"top/{c}/{i}.png": noise(50 * k + i) for k, c in enumerate("ab") for i in range(30)}
    files = {name: encoded(image) for name, image in images.items()}
    path = (
        write_zip(tmp_path / "a.zip", files)
        if form == "zip"
        else write_folder(tmp_path / "a", files)
    )
    with load_dataset(path) as data, ThreadPoolExecutor(8) as pool:
        assert len(data.items) == 60

        def same(item: Item) -> bool:
            found = read_image(data, item), read_image(data.source, item)
            expected = np.asarray(images[f"top/{item.path}"])
            return all(np.array_equal(np.asarray(f), expected) for f in found)

        assert all(pool.map(same, data.items * 5))


def test_an_item_that_is_not_there(tmp_path: Path) -> None:
    with (
        load_dataset(write_zip(tmp_path / "a.zip", two_classes())) as data,
        pytest.raises(ImageError, match=r"cat/9\.jpg: file not found"),
    ):
        read_image(data, Item("cat/9.jpg", 0, "train"))


def test_progress_is_reported_after_every_file(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    threads = set()

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        threads.add(threading.get_ident())

    with load_dataset(write_zip(tmp_path / "a.zip", two_classes(5)), progress=progress):
        assert told == [(n, 10) for n in range(1, 11)]
        assert threads == {threading.get_ident()}


def test_stopping(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", two_classes(200))
    told: list[int] = []
    with pytest.raises(Cancelled) as caught:
        load_dataset(
            path, progress=lambda done, _: told.append(done), should_stop=lambda: len(told) >= 3
        )
    assert caught.value.code == "cancelled"
    assert told == [1, 2, 3]
    assert not [t for t in threading.enumerate() if t.name.startswith("dspt-read")]


def test_the_callers_own_errors_come_through(tmp_path: Path) -> None:
    def progress(done: int, total: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        load_dataset(write_zip(tmp_path / "a.zip", two_classes()), progress=progress)


def _open_files() -> set[str]:
    folder = Path("/proc/self/fd")
    return {str(p.readlink()) for p in folder.iterdir() if p.is_symlink()}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_the_zip_is_let_go_of(tmp_path: Path) -> None:
    good = write_zip(tmp_path / "good.zip", two_classes())
    bad = write_zip(tmp_path / "bad.zip", {"../x": b""})
    one = write_zip(tmp_path / "one.zip", {"cat/1.jpg": b"x"})
    for path in (bad, one):
        with pytest.raises(DatasetError):
            load_dataset(path)
    data: Dataset | None = load_dataset(good)
    assert str(good) in _open_files()
    del data  # never closed: let go of with the data set, and without a ResourceWarning
    gc.collect()
    with load_dataset(good):
        pass
    assert not {f for f in _open_files() if f.endswith(".zip")}


class Growing(Source[bytes]):
    """Files that turn out larger than their listing said."""

    def _read(self, path: str, handle: bytes) -> bytes:
        return handle * 1000

    def close(self) -> None:
        return None


def test_the_bytes_that_were_read_count_not_those_that_were_declared() -> None:
    limits = Limits(max_total_bytes=10_000)
    source = Growing({f"{i}": b"xxxx" for i in range(10)}, [], limits)
    assert len(read_all(source, source.files[:2], None, None)) == 2
    with pytest.raises(DatasetError) as caught:
        read_all(source, source.files, None, None)
    assert caught.value.code == "too_large"


def test_photographs_are_read_fast(tmp_path: Path) -> None:
    files = {
        f"{c}/{i}.jpg": encoded(noise(i, (320, 240)), "JPEG", quality=80)
        for c in "ab"
        for i in range(20)
    }
    path = write_zip(tmp_path / "a.zip", files)
    start = time.process_time()
    with load_dataset(path) as data:
        assert len(data.items) == 40
    assert time.process_time() - start < 2


@pytest.mark.skipif("DSPT_TEST_DATA" not in os.environ, reason="DSPT_TEST_DATA names no folder")
def test_real_photographs() -> None:
    for folder in sorted(p for p in Path(os.environ["DSPT_TEST_DATA"]).iterdir() if p.is_dir()):
        with load_dataset(folder) as data:
            n_files = sum(1 for p in folder.rglob("*") if p.is_file())
            assert len(data.items) + len(data.rejected) == n_files
            assert data.rejected == ()
            assert read_image(data, data.items[-1]).mode == "RGB"
