"""Photos that were added to a data set later: one data set of several zips."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from dataset_files import jpeg, two_classes, write_folder, write_zip

from dspt.data import Limits, load_dataset
from dspt.data.labelled import labelled_files
from dspt.data.photos import open_photos
from dspt.errors import DatasetError
from dspt.labels.corrections import Corrections


@pytest.fixture
def base(tmp_path: Path) -> Path:
    files = {f"photos/train/{name}": data for name, data in two_classes(3).items()}
    return write_zip(tmp_path / "base.zip", files | {"photos/test/cat/9.jpg": jpeg(9)})


def zips(folder: Path, *contents: Mapping[str, bytes]) -> list[Path]:
    return [write_zip(folder / f"{n}.zip", files) for n, files in enumerate(contents)]


def problem(base: Path, added: list[Path], limits: Limits | None = None) -> tuple[str, str]:
    """What `open_photos` and `load_dataset` find wrong first."""
    with pytest.raises(DatasetError) as photos:
        open_photos(base, limits, added=added)
    with pytest.raises(DatasetError) as whole:
        load_dataset(base, added=added, limits=limits)
    found = whole.value.problems[0]
    assert photos.value.problems[0].code == found.code
    return found.code, found.message


def test_all_photos_are_read_and_keep_their_numbers(base: Path, tmp_path: Path) -> None:
    added = zips(
        tmp_path,
        {"cat/0.jpg": jpeg(50), "train/x.txt": b"", "cat/0 (2).jpg": jpeg(51)},
        {"test/dog/1.jpg": jpeg(52)},
        {"labels.csv": b"file,label\nimages/0.jpg,dog\n", "images/0.jpg": jpeg(53)},
        {"train/cat/0.jpg": jpeg(54)},
    )
    with open_photos(base) as before, open_photos(base, added=added) as photos:
        assert photos.photos[:7] == before.photos
        new = [(p.path, p.class_name, p.split) for p in photos.photos[7:]]
        assert new == [
            ("cat/0 (2).jpg", "cat", "train"),
            ("cat/0.jpg", "cat", "train"),
            ("test/dog/1.jpg", "dog", "test"),
            ("images/0.jpg", "dog", "train"),
            ("cat/0 (3).jpg", "cat", "train"),
        ]
        assert [photos.read(n) for n in range(7, 12)] == [jpeg(n) for n in (51, 50, 52, 53, 54)]
    with load_dataset(base, added=added) as data, labelled_files(base, added=added) as files:
        assert len(data.items) == len(files.files) == 12
        assert {item.path for item in data.items} == {file.path for file in files.files}
        assert data.classes == ("cat", "dog")
        digests = {files.read(file).sha256 for file in files.files}  # type: ignore[union-attr]
        assert digests == set(data.hashes)


def test_one_known_class_in_a_folder_of_folders_is_enough(base: Path, tmp_path: Path) -> None:
    for name in ("cat/2024/a.jpg", "new/cat/a.jpg"):
        [added] = zips(tmp_path, {name: jpeg(50)})
        with load_dataset(base, added=[added]) as data:
            [item] = [item for item in data.items if item.path.endswith("a.jpg")]
            assert data.classes[item.label] == "cat", name


def test_blanks_around_a_known_class_are_those_of_its_folder(tmp_path: Path) -> None:
    base = write_zip(tmp_path / "base.zip", {f"{n} /1.jpg": jpeg(i) for i, n in enumerate("ab")})
    table = {"labels.csv": b"file,label\nimages/2.jpg,a\n", "images/2.jpg": jpeg(52)}
    for files in (table, {"a/2.jpg": jpeg(52)}, {"a /2.jpg": jpeg(52)}):
        [added] = zips(tmp_path, files)
        with load_dataset(base, added=[added]) as data:
            assert sorted(data.classes[i.label] for i in data.items) == ["a ", "a ", "b "], files


def test_a_new_class_is_warned_of_and_may_have_test_photos(base: Path, tmp_path: Path) -> None:
    added = zips(tmp_path, {"train/fox/1.jpg": jpeg(50), "test/fox/2.jpg": jpeg(51)})
    with load_dataset(base, added=added) as data:
        assert data.classes == ("cat", "dog", "fox")
        assert "fox is a new class of the added photos" in data.warnings
        assert [i.path for i in data.of_split("test")] == ["test/cat/9.jpg", "test/fox/2.jpg"]


def test_what_cannot_be_added(base: Path, tmp_path: Path) -> None:
    [alike] = zips(tmp_path, {"Cat/1.jpg": jpeg(50), "dog/1.jpg": jpeg(51)})
    expected = ("class_exists", "not a class of the data set; is it 'cat'?")
    assert problem(base, [alike]) == expected
    [flat] = zips(tmp_path, {"1.jpg": jpeg(50)})
    assert problem(base, [flat])[0] == "no_classes"
    [good] = zips(tmp_path, {"cat/1.jpg": jpeg(50)})
    assert problem(base, [good], Limits(max_files=7))[0] == "too_many_files"
    assert problem(base, [good], Limits(max_total_bytes=7 * 1000))[0] == "too_large"
    (tmp_path / "bad.zip").write_bytes(b"no zip at all")
    with pytest.raises(DatasetError, match="not a zip"):
        load_dataset(base, added=[good, tmp_path / "bad.zip"])


def test_photos_are_added_to_a_folder_and_a_bad_one_is_left_out(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", two_classes())
    [added] = zips(tmp_path, {"cat/bad.jpg": b"\xff\xd8\xff bad", "cat/good.jpg": jpeg(50)})
    with load_dataset(folder, added=[added]) as data:
        assert len(data.items) == 5
        assert [each.file for each in data.rejected] == ["cat/bad.jpg"]


def test_a_class_of_corrections_keeps_its_words_when_photos_of_it_are_added(
    base: Path, tmp_path: Path
) -> None:
    corrections = Corrections.of({"train/cat/0.jpg": "fox"}, new_classes={"fox": "red fox"})
    added = zips(tmp_path, {"fox/1.jpg": jpeg(50)})
    with load_dataset(base, added=added) as data:
        corrected = corrections.apply(data, may_change_nothing=True)
        assert (corrected.classes, corrected.class_words) == (
            ("cat", "dog", "fox"),
            ("cat", "dog", "red fox"),
        )
        foxes = [i.path for i in corrected.items if corrected.classes[i.label] == "fox"]
        assert foxes == ["fox/1.jpg", "train/cat/0.jpg"]
