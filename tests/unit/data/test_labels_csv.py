from __future__ import annotations

from pathlib import Path

import pytest
from dataset_files import jpeg, write_folder, write_zip

from dspt.data import Dataset, load_dataset
from dspt.errors import DatasetError

IMAGES = {f"images/{n}.jpg": jpeg(i) for i, n in enumerate("abcd")}
ROWS = "a.jpg,cat\nb.jpg,cat\nc.jpg,dog\nd.jpg,dog\n"


def opened(tmp_path: Path, table: str | bytes, images: dict[str, bytes] = IMAGES) -> Dataset:
    data = table.encode() if isinstance(table, str) else table
    with load_dataset(write_folder(tmp_path / "data", {**images, "labels.csv": data})) as data_set:
        return data_set


def refused(
    tmp_path: Path, table: str | bytes, images: dict[str, bytes] = IMAGES
) -> list[tuple[str, str, str]]:
    with pytest.raises(DatasetError) as caught:
        opened(tmp_path, table, images)
    return [(p.where, p.code, p.message) for p in caught.value.problems]


def test_a_table_of_labels(tmp_path: Path) -> None:
    data = opened(tmp_path, "file,label\n" + ROWS)
    assert data.classes == ("cat", "dog")
    assert [(i.path, i.label, i.split) for i in data.items] == [
        ("images/a.jpg", 0, "train"),
        ("images/b.jpg", 0, "train"),
        ("images/c.jpg", 1, "train"),
        ("images/d.jpg", 1, "train"),
    ]
    assert data.rejected == ()


@pytest.mark.parametrize(
    "table",
    [
        "\ufefffile,label\n" + ROWS,
        ("file,label\n" + ROWS).replace("\n", "\r\n"),
        ("file,label\n" + ROWS).replace(",", ";"),
        ("file,label\n" + ROWS).replace(",", "\t"),
        "Label , FILE\ncat,a.jpg\ncat, b.jpg\ndog ,c.jpg\ndog,d.jpg",
        'file,label,note\n"a.jpg","cat","x, ""y"""\nb.jpg,cat,\nc.jpg,dog,1\nd.jpg,dog,2\n\n',
        "file,label\nimages/a.jpg,cat\nimages\\b.jpg,cat\n./c.jpg,dog\nd.jpg,dog",
    ],
)
def test_forms_of_one_table(tmp_path: Path, table: str) -> None:
    plain = opened(tmp_path / "plain", "file,label\n" + ROWS)
    data = opened(tmp_path / "form", table)
    assert data.items == plain.items
    assert data.sha256 == plain.sha256


def test_in_a_zip_under_a_top_folder(tmp_path: Path) -> None:
    files = {f"set/{n}": d for n, d in IMAGES.items()} | {
        "set/Labels.CSV": ("file,label\n" + ROWS).encode()
    }
    with load_dataset(write_zip(tmp_path / "data.zip", files)) as data:
        assert data.items == opened(tmp_path, "file,label\n" + ROWS).items


def test_items_are_sorted_whatever_the_order_of_the_rows(tmp_path: Path) -> None:
    rows = "".join(reversed(ROWS.splitlines(keepends=True)))
    data = opened(tmp_path, "file,label\n" + rows)
    assert [i.path for i in data.items] == sorted(IMAGES)


def test_a_split_column(tmp_path: Path) -> None:
    table = "file,label,split\na.jpg,cat,train\nb.jpg,cat,TEST\nc.jpg,dog,train\nd.jpg,dog,valid\n"
    data = opened(tmp_path, table)
    assert [i.split for i in data.items] == ["train", "test", "train", "val"]


def test_labels_become_words(tmp_path: Path) -> None:
    data = opened(tmp_path, "file,label\n" + ROWS.replace("cat", "red_fox").replace("dog", "a/b"))
    assert data.classes == ("a/b", "red_fox")
    assert data.class_words == ("a/b", "red fox")


def test_every_wrong_row_is_named(tmp_path: Path) -> None:
    table = "file,label,split\n" + "\n".join(
        [
            "a.jpg,cat,train",
            "a.jpg,dog,train",
            "none.jpg,cat,train",
            ",cat,train",
            "b.jpg,,train",
            "c.jpg,dog,later",
            "d.jpg",
            "d.jpg,cat,train,more",
        ]
    )
    assert refused(tmp_path, table, IMAGES | {"images/extra.png": jpeg(9)}) == [
        ("labels.csv line 3", "duplicate_row", "'a.jpg' already has a row, labels.csv line 2"),
        ("labels.csv line 4", "unknown_file", "file not found: 'none.jpg'"),
        ("labels.csv line 5", "missing_file_name", "the column `file` is empty"),
        ("labels.csv line 6", "missing_label", "'b.jpg' has no label"),
        ("labels.csv line 7", "unknown_split", "'later' is not train, val or test"),
        ("labels.csv line 8", "invalid_table", "has 1 columns; the header has 3"),
        (
            "labels.csv line 9",
            "invalid_table",
            "has 4 columns; the header has 3; put quotes around cells that contain ','",
        ),
    ]


def test_files_without_a_row(tmp_path: Path) -> None:
    images = IMAGES | {"images/e.JPEG": jpeg(8)}
    data = opened(tmp_path, "file,label\n" + ROWS, images)
    assert len(data.items) == 4
    assert data.warnings == ("images/e.JPEG is left out: no row in labels.csv",)
    assert [(r.file, r.reason) for r in data.rejected] == [
        ("images/e.JPEG", "no row in labels.csv")
    ]
    data = opened(tmp_path / "readme", "file,label\n" + ROWS, IMAGES | {"readme.md": b"#"})
    assert [(r.file, r.reason) for r in data.rejected] == [("readme.md", "no row in labels.csv")]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("", "the header must have the columns file and label; found ''"),
        (ROWS, "found 'a.jpg, cat'"),
        ("file\na.jpg", "found 'file'"),
        ("file,label,label\n", "two columns 'label'"),
        ("file,label\na.jpg,\xe4\n".encode("latin-1"), "save the table as UTF-8"),
        ('file,label\n"a.jpg,cat\n', "cannot be read"),
        ("file,label\na.jpg," + "x" * 200_000, "cannot be read"),
        ("file,label," + "x," * 40_000 + "\n" + ROWS, "a row has more than 65,536 characters"),
        ("file,label\n" + '"a\n",' * 20_000, "a row has more than 65,536 characters"),
        ("file,label\n" + "\n" * 1_000_000, "more than 1,000,000 lines"),
    ],
)
def test_a_table_that_cannot_be_used(tmp_path: Path, table: str | bytes, says: str) -> None:
    (problem,) = refused(tmp_path, table)
    assert problem[0].startswith("labels.csv line")
    assert problem[1] == "invalid_table"
    assert says in problem[2]


def test_a_header_without_rows(tmp_path: Path) -> None:
    assert [code for _, code, _ in refused(tmp_path, "file,label\n")] == ["no_classes"]


def test_a_split_column_without_train(tmp_path: Path) -> None:
    table = "file,label,split\n" + ROWS.replace("\n", ",test\n")
    assert [code for _, code, _ in refused(tmp_path, table)] == ["no_train"]


def test_a_label_that_is_a_number(tmp_path: Path) -> None:
    problems = refused(tmp_path, "file,label\n" + ROWS.replace("cat", "0").replace("dog", "1"))
    assert [(w, c) for w, c, _ in problems] == [("0", "numeric_class"), ("1", "numeric_class")]


def test_control_characters_in_a_label(tmp_path: Path) -> None:
    problems = refused(tmp_path, "file,label\n" + ROWS.replace("cat", "c\x07t"))
    assert [(w, c) for w, c, _ in problems] == [("c\\x07t", "invalid_class")]
