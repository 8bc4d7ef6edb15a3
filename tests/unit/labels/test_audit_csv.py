"""The audit's table: guarded against formulas, and read back as corrections."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspt.errors import DatasetError
from dspt.labels.audit_csv import audit_csv, corrections_from_csv, has_corrections
from dspt.labels.corrections import Corrections

CLASSES = ("cat", "dog")


def entry(file: str, given: str = "cat", suggested: str = "dog") -> dict[str, object]:
    values = {"file": file, "given": given, "suggested": suggested}
    return {**values, "score": 0.75, "suspect": True}


def edited(table: bytes, cells: dict[str, str], delimiter: str = ",") -> bytes:
    """What a spreadsheet saves after `correct_label` was filled in for these rows."""
    rows = list(csv.DictReader(io.StringIO(table.decode("utf-8-sig"), newline="")))
    for row in rows:
        row["correct_label"] = cells.get(row["file"], "")
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def refused(table: bytes, classes: tuple[str, ...] = CLASSES) -> list[tuple[str, str, str]]:
    with pytest.raises(DatasetError) as caught:
        corrections_from_csv(table, "t.csv", classes)
    return [(p.where, p.code, p.message) for p in caught.value.problems]


def test_the_table() -> None:
    assert audit_csv([entry("cat/1.png"), entry("=1+1/2.png", "@x", "-1")]).decode() == (
        "file,given,suggested,correct_label,score,suspect\r\n"
        "cat/1.png,cat,dog,,0.75,true\r\n"
        "'=1+1/2.png,'@x,'-1,,0.75,true\r\n"
    )
    assert audit_csv([]) == b"file,given,suggested,correct_label\r\n"


def test_excel_recognises_utf_8() -> None:
    assert audit_csv([entry("café/1.png")]).startswith(b"\xef\xbb\xbffile,")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_an_edited_table(delimiter: str) -> None:
    table = audit_csv([entry(f"cat/{i}.png") for i in range(5)])
    cells = {"cat/0.png": "dog", "cat/2.png": " drop ", "cat/3.png": "  ", "cat/4.png": "cat"}
    found = corrections_from_csv(edited(table, cells, delimiter), "t.csv", CLASSES)
    assert found == Corrections.of({"cat/0.png": "dog", "cat/4.png": "cat"}, ["cat/2.png"])


def test_labels_that_are_right_and_classes_that_are_new() -> None:
    table = audit_csv([entry(f"cat/{i}.png") for i in range(6)])
    written = [" Keep", "new: lynx", "NEW:lynx ", "new: dog", "cat", ""]
    cells = {f"cat/{i}.png": cell for i, cell in enumerate(written)}
    found = corrections_from_csv(edited(table, cells), "t.csv", CLASSES)
    assert found == Corrections.of(
        {"cat/1.png": "lynx", "cat/2.png": "lynx", "cat/3.png": "dog", "cat/4.png": "cat"},
        keep=["cat/0.png"],
        new_classes={"lynx": None},
    )


def test_blanks_around_the_name_of_a_class_need_not_be_typed() -> None:
    table = b"file,correct_label\na,Dress \nb,dress\nc,Dress\nd,hat \n"
    found = corrections_from_csv(table, "t.csv", ("Dress ", "hat"))
    assert found == Corrections.of({"a": "Dress ", "b": "Dress ", "c": "Dress ", "d": "hat"})


def test_a_class_called_keep_is_a_class() -> None:
    found = corrections_from_csv(b"file,correct_label\na,KEEP\n", "t.csv", ("keep", "bin"))
    assert found == Corrections.of({"a": "keep"})


@pytest.mark.parametrize(
    "name",
    [
        "=cmd|' /C calc'!A0/1.png",
        "+1",
        "-1/2.png",
        "@SUM(A1)/1.png",
        "'=1",
        "''@1",
        "'plain quote",
        " =1/1.png",
        "＝1",
        'with "quotes", commas;\tand café',
    ],
)
def test_every_name_is_read_back_and_is_not_a_formula(name: str) -> None:
    table = audit_csv([entry(name, given=name, suggested=name)])
    (row,) = csv.DictReader(io.StringIO(table.decode("utf-8-sig"), newline=""))
    for cell in (row["file"], row["given"], row["suggested"]):
        assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝"))
    found = corrections_from_csv(edited(table, {row["file"]: "drop"}), "t.csv", CLASSES)
    assert found.drop == {name}
    found = corrections_from_csv(
        edited(table, {row["file"]: row["suggested"]}), "t.csv", (name, "x")
    )
    assert found.relabel == {name: name}


# File names have no control characters in them: unsafe_reason refuses those.
@given(st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1).filter(str.strip))
def test_any_name_is_read_back(name: str) -> None:
    table = audit_csv([entry(name)]).replace(b",dog,,", b",dog,drop,")
    assert corrections_from_csv(table, "t.csv", CLASSES) == Corrections.of(drop=[name])


def test_the_case_of_drop_and_of_classes_is_ignored() -> None:
    table = b"file,correct_label\na,DROP\nb,Drop\nc,DOG\n"
    found = corrections_from_csv(table, "t.csv", ("cat", "dog"))
    assert found == Corrections.of({"c": "dog"}, ["a", "b"])
    found = corrections_from_csv(b"file,correct_label\na,DOG\n", "t.csv", ("dog", "Dog"))
    assert found.relabel == {"a": "DOG"}  # ambiguous: reported later as unknown


def test_every_wrong_row_is_named() -> None:
    rows = "a,cat\na,dog\n,cat\nb,drop\nc\n"
    assert refused(b"file,correct_label\n" + rows.encode(), ("cat", "drop")) == [
        ("t.csv line 3", "duplicate_row", "'a' already has a row, line 2"),
        ("t.csv line 4", "missing_file_name", "the column `file` is empty"),
        (
            "t.csv line 5",
            "unclear_drop",
            "ambiguous: 'drop' is also the name of a class; rename the class folder",
        ),
        ("t.csv line 6", "invalid_table", "has 1 columns; the header has 2"),
    ]


@pytest.mark.parametrize(
    ("table", "code", "says"),
    [
        (b"", "invalid_table", "the header must have the columns file and correct_label"),
        (b"file,given\na,cat\n", "invalid_table", "found 'file, given'"),
        (b"file,correct_label,file\n", "invalid_table", "two columns 'file'"),
        (b"file,correct_label\n\xff,cat\n", "invalid_table", "save the table as UTF-8"),
        (b'file,correct_label\n"a,cat\n', "invalid_table", "cannot be read"),
        (b"file,correct_label\n" + b"x" * 200_000 + b",cat\n", "invalid_table", "cannot be read"),
        (b"file,correct_label\na,\n", "nothing_changed", "the column correct_label is empty"),
        (b"PK\x03\x04\x00\x00", "invalid_table", "the header must have"),
    ],
)
def test_a_table_that_cannot_be_used(table: bytes, code: str, says: str) -> None:
    ((where, found, message),) = refused(table)
    assert where.startswith("t.csv")
    assert found == code
    assert says in message


def test_has_corrections() -> None:
    table = audit_csv([entry("a")])
    assert not has_corrections(table)
    assert has_corrections(edited(table, {"a": "dog"}))
    assert not has_corrections(b"\xff\xfe not a table")
    assert not has_corrections(b"a,b\n1,2\n")
