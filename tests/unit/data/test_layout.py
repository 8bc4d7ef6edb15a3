from __future__ import annotations

import time
from pathlib import Path

import pytest
from dataset_files import encoded, jpeg, noise, two_classes, write_folder, write_zip

from dspt.data import Dataset, load_dataset
from dspt.data.findings import Findings
from dspt.data.formats import KNOWN
from dspt.data.layout import layout_by_folder
from dspt.errors import DatasetError, Problem


def opened(tmp_path: Path, files: dict[str, bytes]) -> Dataset:
    """The same data set as folder and as zip: both must read the same."""
    with load_dataset(write_folder(tmp_path / "folder", files)) as data:
        with load_dataset(write_zip(tmp_path / "data.zip", files)) as zipped:
            assert data.items == zipped.items
            assert data.rejected == zipped.rejected
            assert data.warnings == zipped.warnings
            assert data.sha256 == zipped.sha256
            assert data.to_dict() == zipped.to_dict()
        return data


def refused(tmp_path: Path, files: dict[str, bytes]) -> tuple[Problem, ...]:
    found = []
    for path in (write_folder(tmp_path / "folder", files), write_zip(tmp_path / "x.zip", files)):
        with pytest.raises(DatasetError) as caught:
            load_dataset(path)
        found.append(caught.value.problems)
    assert found[0] == found[1]
    return found[0]


def split_form(**parts: dict[str, int]) -> dict[str, bytes]:
    seed = iter(range(1000))
    return {
        f"{split}/{c}/{i}.jpg": jpeg(next(seed))
        for split, classes in parts.items()
        for c, n in classes.items()
        for i in range(n)
    }


def test_class_folders(tmp_path: Path) -> None:
    data = opened(tmp_path, two_classes())
    assert data.classes == ("cat", "dog")
    assert [(i.path, i.label, i.split) for i in data.items] == [
        ("cat/0.jpg", 0, "train"),
        ("cat/1.jpg", 0, "train"),
        ("dog/0.jpg", 1, "train"),
        ("dog/1.jpg", 1, "train"),
    ]
    assert data.rejected == ()
    assert data.warnings == ()


def test_classes_and_items_are_naturally_sorted(tmp_path: Path) -> None:
    names = ["class10/a.jpg", "class9/10.jpg", "class9/9.jpg", "class10/b.jpg"]
    data = opened(tmp_path, {n: jpeg(i) for i, n in enumerate(names)})
    assert data.classes == ("class9", "class10")
    assert [i.path for i in data.items] == [
        "class9/9.jpg", "class9/10.jpg", "class10/a.jpg", "class10/b.jpg",
    ]  # fmt: skip


def test_split_folders(tmp_path: Path) -> None:
    data = opened(
        tmp_path,
        split_form(train={"a x": 3, "b": 2}, val={"a x": 1, "b": 1}, test={"a x": 2, "b": 2}),
    )
    assert data.classes == ("a x", "b")
    assert data.to_dict()["split"] == {"train": 5, "val": 2, "test": 4}
    assert data.labels("train").tolist() == [0, 0, 0, 1, 1]
    assert data.labels("test").tolist() == [0, 0, 1, 1]
    assert data.labels("val").dtype.name == "int64"
    assert {i.path.split("/")[0] for i in data.of_split("val")} == {"val"}


@pytest.mark.parametrize("names", [("Train", "TEST"), ("train", "valid"), ("train", "Validation")])
def test_split_folders_by_other_names(tmp_path: Path, names: tuple[str, str]) -> None:
    data = opened(tmp_path, split_form(**{n: {"a": 2, "b": 2} for n in names}))
    held_out = "test" if names[1] == "TEST" else "val"
    assert data.to_dict()["split"][held_out] == 4


def test_train_alone_is_the_top_folder(tmp_path: Path) -> None:
    data = opened(tmp_path, split_form(train={"a": 2, "b": 2}))
    assert {i.path for i in data.items} == {"a/0.jpg", "a/1.jpg", "b/0.jpg", "b/1.jpg"}


def test_train_among_classes_is_a_class(tmp_path: Path) -> None:
    files = {
        "train/1.jpg": jpeg(1),
        "train/2.jpg": jpeg(2),
        "bus/1.jpg": jpeg(3),
        "bus/2.jpg": jpeg(4),
    }
    assert opened(tmp_path, files).classes == ("bus", "train")


@pytest.mark.parametrize("names", [("test",), ("test", "val")])
def test_no_train_folder(tmp_path: Path, names: tuple[str, ...]) -> None:
    (problem,) = refused(tmp_path, split_form(**{n: {"a": 2, "b": 2} for n in names}))
    assert problem.code == "no_train"
    assert "test/" in problem.message


def test_one_common_top_folder_is_stripped(tmp_path: Path) -> None:
    for files in (two_classes(), split_form(train={"a": 2, "b": 2}, test={"a": 1, "b": 1})):
        plain = opened(tmp_path / str(len(files)), files)
        topped = opened(
            tmp_path / f"{len(files)} top", {f"my data/{n}": d for n, d in files.items()}
        )
        assert topped.items == plain.items
        assert topped.sha256 == plain.sha256


def test_any_number_of_top_folders_is_stripped(tmp_path: Path) -> None:
    data = opened(tmp_path, {f"a/b/c/{n}": d for n, d in two_classes().items()})
    assert data.classes == ("cat", "dog")
    assert data.items[0].path == "cat/0.jpg"


def test_a_readme_beside_the_top_folder_does_not_hide_it(tmp_path: Path) -> None:
    files = {f"top/{n}": d for n, d in two_classes().items()} | {"README.txt": b"hello"}
    data = opened(tmp_path, files)
    assert data.classes == ("cat", "dog")
    assert [(r.file, r.reason) for r in data.rejected] == [
        ("README.txt", "outside the class folders")
    ]


def test_noise_is_passed_over_silently(tmp_path: Path) -> None:
    files = two_classes() | {
        "__MACOSX/cat/._0.jpg": b"x",
        "cat/.DS_Store": b"x",
        "dog/Thumbs.db": b"x",
        "desktop.ini": b"x",
        "cat/Icon\r": b"",
        ".hidden/1.jpg": jpeg(7),
    }
    data = opened(tmp_path, files)
    assert (data.classes, data.rejected, data.warnings) == (("cat", "dog"), (), ())


def test_images_outside_the_class_folders_are_rejected(tmp_path: Path) -> None:
    data = opened(tmp_path, two_classes() | {"stray.jpg": jpeg(9)})
    assert [(r.file, r.reason) for r in data.rejected] == [
        ("stray.jpg", "outside the class folders")
    ]


def test_files_outside_the_split_folders_are_rejected(tmp_path: Path) -> None:
    files = split_form(train={"a": 2, "b": 2}, test={"a": 1, "b": 1})
    data = opened(
        tmp_path, files | {"train/s.jpg": jpeg(91), "extra/a/1.jpg": jpeg(92), "s.jpg": b""}
    )
    assert {r.file: r.reason for r in data.rejected} == {
        "train/s.jpg": "in train/ but in no class folder",
        "extra/a/1.jpg": "extra/ is left out: it is beside test/ and train/",
        "s.jpg": "outside test/ and train/",
    }


def test_folders_within_a_class_belong_to_it(tmp_path: Path) -> None:
    data = opened(tmp_path, two_classes() | {"cat/black/deep/1.jpg": jpeg(9)})
    assert data.classes == ("cat", "dog")
    assert data.items[2].path == "cat/black/deep/1.jpg"
    assert data.items[2].label == 0


def test_images_all_in_the_root(tmp_path: Path) -> None:
    (problem,) = refused(tmp_path, {"1.jpg": jpeg(1), "2.jpg": jpeg(2)})
    assert problem.code == "no_classes"
    assert "class/photo.jpg" in problem.message


def test_one_class(tmp_path: Path) -> None:
    (problem,) = refused(tmp_path, {"cat/1.jpg": jpeg(1), "cat/2.jpg": jpeg(2)})
    assert (problem.where, problem.code) == ("cat", "one_class")


def test_a_class_with_one_image_is_warned_of(tmp_path: Path) -> None:
    data = opened(tmp_path, two_classes() | {"emu/1.jpg": jpeg(9)})
    assert data.warnings == (
        "emu has a single image; add more images, the result depends on this single one",
    )


def test_a_class_without_a_readable_image(tmp_path: Path) -> None:
    bad = {
        "emu/a.jpg": b"",
        "emu/b.jpg": b"text",
        "emu/c.jpg": b"%PDF",
        "emu/d.jpg": b"x",
        "emu/e": b"x",
    }
    why = (
        "the class has no readable image: a.jpg: the file is empty (0 bytes); b.jpg: not an image; "
        f"c.jpg: a PDF document, not a {KNOWN} image; and 2 more"
    )
    data = opened(tmp_path / "more", two_classes() | bad)
    assert data.classes == ("cat", "dog")
    assert data.warnings == (f"emu is left out; {why}",)
    assert len(data.rejected) == 5
    cats = {name: image for name, image in two_classes().items() if name.startswith("cat")}
    (problem,) = refused(tmp_path, cats | bad)
    assert (problem.where, problem.code, problem.message) == ("emu", "empty_class", why)


def test_an_empty_folder_is_left_out(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", two_classes() | {"to sort/.keep": b""})
    path = write_zip(tmp_path / "data.zip", two_classes() | {"to sort/": b""})
    for source in (folder, path):
        with load_dataset(source, {"to sort": "words of an empty folder"}) as data:
            assert data.classes == ("cat", "dog")
            assert data.warnings == ("to sort/ is left out: it has no images",)


def test_a_class_that_only_test_has(tmp_path: Path) -> None:
    files = split_form(train={"Red_Fox": 2, "b": 2}, test={"b": 1, "zebra": 1})
    data = opened(tmp_path / "more", files)
    assert data.classes == ("b", "Red_Fox")
    assert [r.file for r in data.rejected] == ["test/zebra/0.jpg"]
    assert data.warnings[0].startswith("test/zebra: test has a class that train does not have")
    (problem,) = refused(tmp_path, files | {"test/red fox/1.jpg": jpeg(99)})
    assert (problem.where, problem.code) == ("test/red fox", "class_not_in_train")
    assert "is it 'Red_Fox'?" in problem.message


def test_no_class_of_test_is_in_train(tmp_path: Path) -> None:
    problems = refused(tmp_path, split_form(train={"a": 2, "b": 2}, test={"c": 1, "d": 1}))
    assert [(p.where, p.code) for p in problems] == [
        ("test/c", "class_not_in_train"),
        ("test/d", "class_not_in_train"),
    ]


def test_a_class_that_test_lacks_is_warned_of(tmp_path: Path) -> None:
    data = opened(tmp_path, split_form(train={"a": 2, "b": 2}, test={"a": 1}))
    assert data.warnings == ("b has no images in test, so it is not measured",)
    with_val = split_form(train={"a": 2, "b": 2}, val={"a": 1}, test={"a": 1, "b": 1})
    assert opened(tmp_path / "val", with_val).warnings == ()


def test_a_test_class_without_readable_image_is_warned_of(tmp_path: Path) -> None:
    files = split_form(train={"a": 2, "b": 2}, test={"a": 1}) | {"test/b/1.jpg": b""}
    data = opened(tmp_path, files)
    assert data.warnings == ("test/b has no readable image: 1.jpg: the file is empty (0 bytes)",)
    assert data.rejected[0].file == "test/b/1.jpg"


def test_wrong_extensions_do_not_matter(tmp_path: Path) -> None:
    files = two_classes() | {"cat/png.jpg": encoded(noise(8)), "cat/none": encoded(noise(9), "BMP")}
    assert len(opened(tmp_path, files).items) == 6


def test_all_kinds_of_problems_come_together(tmp_path: Path) -> None:
    files = split_form(train={"Emu": 2, "emu": 1, "7": 2}, test={"Emu": 1, "E-mu": 1, "EMU": 1})
    problems = refused(tmp_path, files)
    assert {(p.where, p.code) for p in problems} == {
        ("7", "numeric_class"),
        ("Emu", "same_class_words"),
        ("test/EMU", "class_not_in_train"),
    }


def test_very_many_folders_take_no_time() -> None:
    folders = [f"class {i}" for i in range(40_000)]
    start = time.process_time()
    layout_by_folder([], folders, Findings())
    assert time.process_time() - start < 2
