from __future__ import annotations

import os
from pathlib import Path

import pytest
from dataset_files import jpeg, refused, two_classes, write_folder

from dspt.data import Limits, load_dataset, read_image
from dspt.errors import ImageError


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside = write_folder(tmp_path / "outside", {"secret.jpg": jpeg(9), "more/1.jpg": jpeg(8)})
    folder = write_folder(tmp_path / "data", two_classes())
    (folder / "cat" / "file.jpg").symlink_to(outside / "secret.jpg")
    (folder / "cat" / "up.jpg").symlink_to("../../outside/secret.jpg")
    (folder / "cat" / "gone.jpg").symlink_to("nowhere.jpg")
    (folder / "cat" / "loop.jpg").symlink_to("loop.jpg")
    (folder / "emu").symlink_to(outside / "more")
    (folder / "dog" / "self").symlink_to(folder)
    with load_dataset(folder) as data:
        assert len(data.items) == 4
        assert {r.file: r.reason for r in data.rejected} == dict.fromkeys(
            ["cat/file.jpg", "cat/up.jpg", "cat/gone.jpg", "cat/loop.jpg", "emu", "dog/self"],
            "a link to outside the folder, or not a regular file",
        )


def test_links_within_the_folder_are_read(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", two_classes())
    (folder / "cat" / "again.jpg").symlink_to("0.jpg")
    (tmp_path / "link").symlink_to(folder)  # the folder itself may be given by a link
    with load_dataset(tmp_path / "link") as data:
        assert "cat/again.jpg" in {i.path for i in data.items}
        assert data.rejected == ()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_on(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", two_classes())
    os.mkfifo(folder / "cat" / "pipe.jpg")
    with load_dataset(folder) as data:
        assert [r.file for r in data.rejected] == ["cat/pipe.jpg"]


def test_unsafe_names_on_disk(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", two_classes() | {"cat/a\nb.jpg": b"", "cat/nul": b""})
    with open(os.fsencode(folder) + b"/cat/\xff.jpg", "wb"):  # noqa: PTH123
        pass
    assert {(p.where, p.code) for p in refused(folder)} == {
        ("cat/a\\nb.jpg", "unsafe_path"),
        ("cat/nul", "unsafe_path"),
        ("cat/\\udcff.jpg", "unsafe_path"),
    }


def test_limits(tmp_path: Path) -> None:
    files = two_classes()
    folder = write_folder(tmp_path / "data", files)
    total = sum(map(len, files.values()))
    with load_dataset(folder, limits=Limits(max_files=4, max_total_bytes=total)) as data:
        assert len(data.items) == 4
    assert refused(folder, Limits(max_files=3))[0].code == "too_many_files"
    assert refused(folder, Limits(max_total_bytes=total - 1))[0].code == "too_large"
    smallest = min(map(len, files.values()))
    problems = refused(folder, Limits(max_file_bytes=smallest - 1))
    assert {p.code for p in problems} == {"empty_class"}
    assert "file too large" in problems[0].message


def test_an_unreadable_file(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", two_classes())
    (folder / "cat" / "1.jpg").chmod(0)
    if os.access(folder / "cat" / "1.jpg", os.R_OK):
        pytest.skip("this user may read everything")
    with load_dataset(folder) as data:
        assert data.rejected[0].reason == "cannot be read: Permission denied"


def test_empty_and_missing_folders(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert [p.code for p in refused(tmp_path / "data")] == ["no_classes"]
    assert "no files" in refused(tmp_path / "data")[0].message
    assert [p.code for p in refused(tmp_path / "none")] == ["not_found"]


def test_a_file_that_goes_away_after_the_check(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", two_classes())
    with load_dataset(folder) as data:
        (folder / "cat" / "0.jpg").unlink()
        with pytest.raises(ImageError) as caught:
            read_image(data, data.items[0])
        assert caught.value.param == "cat/0.jpg"
        assert "cat/0.jpg: cannot be read" in caught.value.message
