"""How folders are read: split names, wrappers, subfolders, and what is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from dspt.data.findings import Findings
from dspt.data.layout import Layout, common_top, drop_unknown_classes, layout_by_folder
from dspt.data.split_names import is_unsorted, split_of


def read(*folders: str, empty: Sequence[str] = ()) -> tuple[Layout, Findings]:
    """The layout of two images in each of `folders` (`""` is the root)."""
    files = [f"{folder}/{i}.jpg".lstrip("/") for folder in folders for i in range(2)]
    top = common_top(files, empty)
    if top:
        files = [file.removeprefix(f"{top}/") for file in files]
    findings = Findings()
    layout = layout_by_folder(files, empty, findings)
    drop_unknown_classes(layout, findings)
    return layout, findings


def places(layout: Layout) -> dict[str, list[str]]:
    """Split -> sorted classes."""
    found: dict[str, set[str]] = {}
    for file in layout.candidates:
        found.setdefault(file.split, set()).add(file.class_name)
    return {split: sorted(names) for split, names in found.items()}


@pytest.mark.parametrize(
    ("train", "held_out", "split"),
    [
        ("Training", "Testing", "test"),
        ("TRAIN", "Eval", "val"),
        ("train_set", "dev_set", "val"),
        ("trainval", "holdout", "test"),
        ("train-val", "hold-out", "test"),
        ("train_images", "test_images", "test"),
        ("train2017", "val2017", "val"),
        ("TrainData", "TestData", "test"),
        ("seg_train/seg_train", "seg_test/seg_test", "test"),
        ("flowers_train", "flowers_test", "test"),
        ("training_set/training_set", "test_set/test_set", "test"),
        ("train/images", "test/images", "test"),
        ("Trainingsdaten", "Testdaten", "test"),
        ("koulutus", "koe", None),
        ("entraînement", "essai", "test"),
        ("entrenamiento", "prueba", "test"),
        ("addestramento", "validazione", "val"),
        ("treino", "teste", "test"),
        ("обучающая выборка", "тестовая выборка", "test"),
        ("訓練データ", "テスト用データ", "test"),
        ("训练集", "测试集", "test"),
        ("훈련", "검증", "val"),
        ("eğitim", "doğrulama", "val"),
    ],
)
def test_names_of_splits(train: str, held_out: str, split: str | None) -> None:
    folders = [f"{top}/{name}" for top in (train, held_out) for name in ("cat", "dog")]
    layout, findings = read(*folders)
    if split is None:  # not understood: never classes in silence
        assert [p.code for p in findings.problems] == ["ambiguous_layout"]
    else:
        assert places(layout) == {"train": ["cat", "dog"], split: ["cat", "dog"]}
        assert not findings.problems


@pytest.mark.parametrize("name", ["train station", "test tubes", "bus", "toy-train", "protest"])
def test_names_of_classes_are_not_splits(name: str) -> None:
    assert split_of(name) is None
    layout, findings = read(name, "cat")
    assert places(layout) == {"train": sorted([name, "cat"])}
    assert not findings.warnings


@pytest.mark.parametrize(
    ("folders", "hint"),
    [
        (["train/a", "train/b", "tset/a", "tset/b"], "tset/ looks like test/"),
        (["part A/a", "part A/b", "other/a", "other/b"], "contain the same subfolders"),
        (["images/a", "images/b", "masks/a", "masks/b"], "contain the same subfolders"),
        (["x/a", "x/b", "x/c", "y/a", "y/b"], "contain the same subfolders"),
        (["train/a", "train/b", "a"], "either the classes are the folders inside train/"),
        (["a", "b", "test/a", "test/b"], "either the classes are the folders inside test/"),
        (["a/train", "a/test", "b/front", "b/back"], "a/ contains test/ and train/, but b/"),
    ],
)
def test_two_readings_are_refused(folders: list[str], hint: str) -> None:
    layout, findings = read(*folders)
    (problem,) = findings.problems
    assert problem.code == "ambiguous_layout"
    assert hint in problem.message
    assert "either" in problem.message
    assert not layout.candidates


def test_class_then_split() -> None:
    layout, findings = read("a/train", "b/Training", "a/test", "b/test", "c", "a")
    assert places(layout) == {"train": ["a", "b", "c"], "test": ["a", "b"]}
    assert Counter(file.split for file in layout.candidates) == {"train": 8, "test": 4}
    (warning,) = findings.warnings
    assert "are read as splits" in warning


def test_class_then_split_by_the_ends_of_names() -> None:
    layout, _ = read("a/a_train", "a/a_test", "b/b_train", "b/b_test")
    assert places(layout) == {"train": ["a", "b"], "test": ["a", "b"]}


def test_class_folders_with_test_photos_only() -> None:
    _, findings = read("a/test", "b/test")
    assert [p.code for p in findings.problems] == ["no_train"]


def test_groups_of_classes_are_classes_with_a_warning() -> None:
    layout, findings = read("animal/bonsai", "animal/butterfly", "vehicle/airplane")
    assert places(layout) == {"train": ["animal", "vehicle"]}
    (warning,) = findings.warnings
    assert "animal/ and vehicle/ have subfolders (airplane, bonsai and butterfly)" in warning
    assert "if the subfolders are the classes, move them up one level" in warning


def test_subfolders_of_one_class_are_named_with_it() -> None:
    layout, findings = read("shirts/left camera", "shirts/right camera", "shoes")
    assert places(layout) == {"train": ["shirts", "shoes"]}
    (warning,) = findings.warnings
    assert "shirts/ has subfolders (left camera and right camera), whose photos" in warning
    assert "are read as the class shirts;" in warning


@pytest.mark.parametrize("outer", ["fold{}", "202{}", "part_{}"])
def test_numbered_parts_hold_classes(outer: str) -> None:
    layout, findings = read(*(f"{outer.format(i)}/{name}" for i in (1, 2) for name in "ab"))
    assert places(layout) == {"train": ["a", "b"]}
    assert "the subfolders are read as the classes" in findings.warnings[0]


def test_numbered_subfolders_belong_to_the_class() -> None:
    layout, findings = read(*(f"{name}/day{i}" for i in (1, 2) for name in ("cat", "dog")))
    assert places(layout) == {"train": ["cat", "dog"]}
    assert "whose photos are read as the classes cat and dog" in findings.warnings[0]


def test_same_subfolders_inside_train_belong_to_the_class() -> None:
    layout, findings = read(
        *(f"{split}/{name}/{side}" for split in ("train", "test") for name in "ab" for side in "xy")
    )
    assert places(layout) == {"train": ["a", "b"], "test": ["a", "b"]}
    assert "whose photos are read as the classes a and b" in findings.warnings[0]


def test_images_folder_in_each_class() -> None:
    layout, findings = read("train/n1/images", "train/n2/images", "val/n1", "val/n2", "test/images")
    assert places(layout) == {"train": ["n1", "n2"], "val": ["n1", "n2"]}
    assert findings.warnings == ("test/images/ is left out (2 files): it has no class folders",)


def test_folders_that_are_left_out() -> None:
    layout, findings = read("a", "b", "to sort", "todo", "未分类", empty=["c", "d/e"])
    assert places(layout) == {"train": ["a", "b"]}
    assert {reason for _, reason in layout.outside} >= {
        "to sort/ is left out: its name says that its photos have no class yet"
    }
    assert findings.warnings[-1] == "and 2 more warnings of the kind 'left_out'"
    findings = Findings()
    layout_by_folder(["a/1.jpg", "b/1.jpg", "todo/1.jpg"], [], findings)
    assert findings.warnings[0].startswith("todo/ is left out (1 file): ")
    assert is_unsorted("_To-Sort_")
    assert is_unsorted("unsorted photos 2")
    assert is_unsorted("Neuer Ordner (2)")
    assert is_unsorted("新建文件夹")
    assert not is_unsorted("sorted")


@pytest.mark.parametrize("name", ["unlabelled", "Unlabeled", "unlabelled_photos", "un-labelled"])
@pytest.mark.parametrize(
    ("place", "beside"),
    [
        ("{}", ("a", "b")),
        ("{}/inner/deeper", ("train/a", "train/b", "test/a")),
        ("train/{}", ("train/a", "train/b", "test/a")),
        ("data/{}", ("data/a", "data/b")),
    ],
)
def test_photos_without_labels(name: str, place: str, beside: tuple[str, ...]) -> None:
    folder = place.format(name)
    layout, findings = read(*beside, folder)
    inside = folder.removeprefix("data/")
    assert layout.unlabelled == [f"{inside}/0.jpg", f"{inside}/1.jpg"]
    assert places(layout)["train"] == ["a", "b"]
    assert not findings.warnings


def test_test_photos_without_labels_are_left_out() -> None:
    layout, _ = read("train/a", "train/b", "test/a", "test/b", "test/unlabelled")
    assert not layout.unlabelled
    assert places(layout)["test"] == ["a", "b"]


def test_unlabelled_is_never_a_class() -> None:
    for folders in (["unlabelled"], ["unlabelled/a", "unlabelled/b"], ["unlabelled", "a"]):
        layout, _ = read(*folders)
        assert places(layout) == ({"train": ["a"]} if "a" in folders else {})


def test_test_photos_without_class_folders() -> None:
    layout, findings = read("train/a", "train/b", "test")
    assert places(layout) == {"train": ["a", "b"]}
    assert findings.warnings == ("test/ is left out (2 files): it has no class folders",)


def test_split_names_that_contain_photos_are_classes_beside_others() -> None:
    layout, findings = read("train", "test", "bus")
    assert places(layout) == {"train": ["bus", "test", "train"]}
    assert "so they are read as classes" in findings.warnings[0]
    assert not read("train", "test")[0].candidates


@pytest.mark.parametrize("name", ["test", "Validation", "holdout"])
def test_photos_to_measure_on_without_classes_are_no_class(name: str) -> None:
    layout, findings = read("a", "b", name)
    assert places(layout) == {"train": ["a", "b"]}
    assert findings.warnings == (f"{name}/ is left out (2 files): it has no class folders",)


@pytest.mark.parametrize(
    ("folders", "top"),
    [
        (["a/b/c/cat", "a/b/c/dog"], "a/b/c"),
        (["x/train/cat", "x/train/dog", "x/test/cat"], "x"),
        (["x/train/cat", "x/train/dog"], "x/train"),
        (["x/test/cat", "x/test/dog"], "x"),
        (["cat", "dog"], None),
        (["x/cat"], "x"),
        (["cat"], None),
    ],
)
def test_folders_around_the_data_set(folders: list[str], top: str | None) -> None:
    files = [f"{folder}/1.jpg" for folder in folders]
    assert common_top([*files, "README.md", "notes/a.txt"], ["empty"]) == top
