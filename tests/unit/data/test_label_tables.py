"""Tables of labels under the names and in the forms that people have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dataset_files import Files, jpeg, write_folder

from dspt.data import Dataset, load_dataset
from dspt.errors import DatasetError

IMAGES = {f"images/{n}.jpg": jpeg(i) for i, n in enumerate("abcd")}
CSV = "file,label\na.jpg,cat\nb.jpg,cat\nc.jpg,dog\nd.jpg,dog\n"
PAIRS = [("a.jpg", "cat"), ("b.jpg", "cat"), ("c.jpg", "dog"), ("d.jpg", "dog")]


def opened(tmp_path: Path, tables: dict[str, str], images: Files = IMAGES) -> Dataset:
    files = {**images, **{name: text.encode() for name, text in tables.items()}}
    with load_dataset(write_folder(tmp_path / "data", files)) as dataset:
        return dataset


def refused(tmp_path: Path, tables: dict[str, str], images: Files = IMAGES) -> DatasetError:
    with pytest.raises(DatasetError) as caught:
        opened(tmp_path, tables, images)
    return caught.value


def labels(dataset: Dataset) -> dict[str, str]:
    return {item.path[-5:]: dataset.classes[item.label] for item in dataset.items}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.csv", CSV.replace("file,", "file_name,")),
        ("train.csv", CSV.replace("file,label", "image_id,Species")),
        ("my labels.tsv", CSV.replace(",", "\t")),
        ("Labels.tsv", CSV.replace(",", "\t")),
        ("annotations.csv", "sep=;\n" + CSV.replace(",", ";")),
        ("labels.csv", '"sep=;"\r\n' + CSV.replace(",", ";")),
        ("list.csv", "id,breed\na,cat\nb,cat\nc,dog\nd,dog\n"),
        ("list.csv", "Dateiname,Klasse\nA.JPG,cat\nB.JPG,cat\nC.JPG,dog\nD.JPG,dog\n"),
        ("list.csv", CSV.replace("a.jpg", "/kaggle/input/images/a.jpg")),
        ("_classes.csv", "filename, cat, dog\na.jpg,1,0\nb.jpg,1,0\nc.jpg,0,1\nd.jpg,0,1\n"),
        ("labels.json", json.dumps(dict(PAIRS))),
        ("labels.json", json.dumps({file: [label] for file, label in PAIRS})),
        ("labels.json", json.dumps({file: {"class": label} for file, label in PAIRS})),
        ("labels.json", json.dumps({"cat": ["a.jpg", "b.jpg"], "dog": ["c.jpg", "d.jpg"]})),
        ("x.json", json.dumps([{"image": file, "category": label} for file, label in PAIRS])),
        (
            "metadata.jsonl",
            "\n".join(json.dumps({"file_name": file, "label": label}) for file, label in PAIRS),
        ),
        ("labels.csv", CSV.replace("cat\n", "cat,,\n")),
    ],
)
def test_forms(tmp_path: Path, name: str, text: str) -> None:
    dataset = opened(tmp_path, {name: text})
    assert labels(dataset) == dict(PAIRS)
    assert dataset.warnings == ()


def test_a_table_in_each_split_folder(tmp_path: Path) -> None:
    images = {
        f"{s}/{n}.jpg": jpeg(i) for i, (s, n) in enumerate(zip("xxxxyy", "abcdab", strict=True))
    }
    images = {name.replace("x/", "train/").replace("y/", "valid/"): d for name, d in images.items()}
    tables = {
        "train/_classes.csv": "filename,cat,dog\na.jpg,1,0\nb.jpg,1,0\nc.jpg,0,1\nd.jpg,0,1\n",
        "valid/_classes.csv": "filename,cat,dog\na.jpg,1,0\nb.jpg,0,1\n",
    }
    dataset = opened(tmp_path, tables, images)
    assert dataset.classes == ("cat", "dog")
    assert dataset.to_dict()["split"] == {"train": 4, "val": 2, "test": 0}


def test_a_table_for_each_split(tmp_path: Path) -> None:
    tables = {
        "train.csv": CSV[: CSV.index("d.jpg")],
        "test.csv": "file,label\nd.jpg,dog\n",
        "sample_submission.csv": "file,label\na.jpg,none\n",
    }
    dataset = opened(tmp_path, tables)
    assert dataset.to_dict()["split"] == {"train": 3, "val": 0, "test": 1}


def test_split_from_the_folders_of_the_files(tmp_path: Path) -> None:
    images = {f"{s}/{n}.jpg": jpeg(i) for i, (s, n) in enumerate(
        [("train", "a"), ("train", "b"), ("train", "c"), ("test", "d")])}  # fmt: skip
    table = "file,label\ntrain/a.jpg,cat\ntrain/b.jpg,cat\ntrain/c.jpg,dog\ntest/d.jpg,dog\n"
    dataset = opened(tmp_path, {"labels.csv": table}, images)
    assert dataset.to_dict()["split"] == {"train": 3, "val": 0, "test": 1}
    assert dataset.warnings[0] == ("the folders are read as splits: test/ as test, train/ as train")


def test_more_cells_than_the_header(tmp_path: Path) -> None:
    error = refused(tmp_path, {"labels.csv": CSV.replace("cat\n", "cat, blue\n")})
    assert [(p.where, p.code) for p in error.problems] == [
        ("labels.csv line 2", "invalid_table"),
        ("labels.csv line 3", "invalid_table"),
    ]
    assert "has 3 columns; the header has 2; put quotes around" in error.problems[0].message


def test_images_with_several_labels_are_left_out(tmp_path: Path) -> None:
    images = IMAGES | {"images/e.jpg": jpeg(8), "images/f.jpg": jpeg(9)}
    dataset = opened(tmp_path, {"labels.csv": CSV + "e.jpg,cat|dog\nf.jpg,rock|roll\n"}, images)
    assert dataset.classes == ("cat", "dog", "rock|roll")
    assert "images/e.jpg is left out: several labels: cat, dog" in dataset.warnings
    table = json.dumps(dict(PAIRS) | {"e.jpg": ["cat", "dog"]})
    dataset = opened(tmp_path / "json", {"labels.json": table}, images)
    assert [(r.file, r.reason) for r in dataset.rejected] == [
        ("images/e.jpg", "several labels: cat, dog"),
        ("images/f.jpg", "no row in labels.json"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("metadata.csv", "picture number,notes\n1,x\n", "picture number, notes"),
        ("train.csv", "file,caption\na.jpg,x\n", "file, caption"),
        ("info.json", '["a.jpg"]', "JSON object"),
        ("info.jsonl", "{", "cannot be read"),
        ("labels.xlsx", "PK", "save it as CSV"),
    ],
)
def test_a_table_that_is_not_understood_is_named(
    tmp_path: Path, name: str, text: str, found: str
) -> None:
    error = refused(tmp_path, {name: text})
    assert error.problems[0].where.startswith(name)
    assert found in error.problems[0].message


def test_tables_beside_class_folders_are_not_used(tmp_path: Path) -> None:
    images = {f"{c}/{i}.jpg": jpeg(10 * len(c) + i) for c in ("cat", "horse") for i in range(2)}
    tables = {"list.csv": "file,label\ncat/0.jpg,horse\n", "colours.json": "{}"}
    dataset = opened(tmp_path, tables, images)
    assert dataset.classes == ("cat", "horse")
    assert dataset.warnings == ("list.csv is not used: the folders give the classes",)


def test_several_tables(tmp_path: Path) -> None:
    error = refused(tmp_path, {"a.csv": CSV, "b.csv": CSV})
    assert error.problems[0].code == "ambiguous_layout"
    assert "a.csv, b.csv" in error.problems[0].message


def test_a_name_of_several_files(tmp_path: Path) -> None:
    images = {f"{folder}/{n}.jpg": jpeg(i) for i, (folder, n) in enumerate(
        [("x", "a"), ("y", "a"), ("x", "b"), ("y", "c")])}  # fmt: skip
    table = "file,label\na.jpg,cat\nb.jpg,cat\nc.jpg,dog\n"
    error = refused(tmp_path, {"labels.csv": table}, images)
    assert [(p.where, p.message) for p in error.problems] == [
        ("labels.csv line 2", "'a.jpg' is the name of 2 files; write the path")
    ]


def test_a_row_that_is_repeated_does_no_harm(tmp_path: Path) -> None:
    found = opened(tmp_path, {"labels.csv": CSV + "a.jpg,cat\n"})
    assert sorted(labels(found).items()) == PAIRS
    assert found.warnings == (
        "labels.csv line 6: 'a.jpg' already has a row, labels.csv line 2; it is the same",
    )


def test_json_of_other_programs_is_named(tmp_path: Path) -> None:
    coco = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1}]}
    problems = refused(tmp_path, {"annotations.json": json.dumps(coco)}).problems
    assert ("annotations.json", "invalid_table") in {(p.where, p.code) for p in problems}
    assert any("a list of objects with file and label" in p.message for p in problems)
