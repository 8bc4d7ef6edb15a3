from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from dataset_files import jpeg, two_classes, write_folder

from dspt.data import load_dataset
from dspt.data.class_words import class_words, is_code, words_of
from dspt.data.findings import Findings
from dspt.data.wordnet import wordnet_words
from dspt.errors import DatasetError
from dspt.kit.text import printable


def problems(folders: list[str], given: Any = None) -> list[tuple[str, str]]:
    findings = Findings()
    class_words(folders, given, findings)
    return [(p.where, p.code) for p in findings.problems]


def words(folders: list[str], given: Any = None) -> tuple[str, ...]:
    findings = Findings()
    result = class_words(folders, given, findings)
    assert findings.problems == ()
    return result


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("cat", "cat"),
        ("red_fox", "red fox"),
        ("Red-Fox", "Red Fox"),
        ("  long__sleeve - top ", "long sleeve top"),
        ("犬", "犬"),
        ("T-34 tank", "T 34 tank"),
    ],
)
def test_words_of_a_folder(folder: str, expected: str) -> None:
    assert words_of(folder) == expected
    assert words([folder]) == (expected,)


def test_the_users_words_override_and_are_kept_as_written() -> None:
    given = {"17": "  T-shirt   with_print ", "b": "7"}
    assert words(["17", "b", "c"], given) == ("T-shirt with_print", "7", "c")


@pytest.mark.parametrize("folder", ["0", "17", "003", "1_2", "1-2", "٣", "²"])
def test_numeric_folders_are_refused_with_the_mend(folder: str) -> None:
    findings = Findings()
    class_words(["cat", folder], None, findings)
    (problem,) = findings.problems
    assert (problem.where, problem.code) == (folder, "numeric_class")
    assert "class_names" in problem.message
    assert words(["cat", folder], {folder: "zero"}) == ("cat", "zero")


@pytest.mark.parametrize("folder", ["a1", "class 0", "3d print", "🐈"])
def test_folders_with_a_number_in_them_are_fine(folder: str) -> None:
    words([folder])


@pytest.mark.parametrize("folder", ["_", "--", "_ -_", "..."])
def test_folders_without_words(folder: str) -> None:
    assert problems(["cat", folder]) == [(folder, "invalid_class_words")]


@pytest.mark.parametrize("name", ["x" * 201, "a\nb", "\ud800", "c\u200bat", "\u202etac"])
def test_names_that_no_words_can_mend(name: str) -> None:
    for given in (None, {name: "words"}):
        assert [code for _, code in problems(["cat", name], given)] == ["invalid_class"]


@pytest.mark.parametrize(
    "value",
    [7, None, ["a"], "", "  ", "a\nb", "\x00", "--", "x" * 201, "\ud800", "\u202etac", "\u3164"],
)
def test_words_that_are_refused(value: object) -> None:
    assert problems(["cat", "dog"], {"dog": value}) == [("dog", "invalid_class_words")]


def test_the_longest_words() -> None:
    assert words(["cat"], {"cat": "x" * 200}) == ("x" * 200,)


def test_words_for_unknown_folders() -> None:
    given = {"Cat": "cat", "zoo": "zoo", "cat": "kitty", 5: "five"}
    assert problems(["cat"], given) == [
        ("Cat", "unknown_class_name"),
        ("zoo", "unknown_class_name"),
        ("5", "unknown_class_name"),
    ]


@pytest.mark.parametrize("given", [["cat"], "cat", 3])
def test_class_names_must_be_a_mapping(given: object) -> None:
    assert problems(["cat", "dog"], given) == [("class_names", "invalid_class_names")]


@pytest.mark.parametrize(
    "pair",
    [
        *(("Red_Fox", "red fox"), ("red-fox", "red_fox"), ("CAT", "cat"), ("straße", "STRASSE")),
        *(("\uff43at", "cat"), ("c\u200dat", "cat")),
    ],
)
def test_folders_that_name_the_same_class(pair: tuple[str, str]) -> None:
    findings = Findings()
    class_words([*pair, "dog"], None, findings)
    (problem,) = findings.problems
    assert (problem.where, problem.code) == (printable(pair[0]), "same_class_words")
    assert repr(printable(pair[0])) in problem.message
    assert repr(printable(pair[1])) in problem.message


def test_of_very_many_folders_for_one_class_a_few_are_named() -> None:
    findings = Findings()
    class_words([f"{'_' * i}cat" for i in range(1, 100)], None, findings)
    (problem,) = findings.problems
    assert "and 94 more have the same words" in problem.message


def test_words_for_very_many_folders_take_no_time() -> None:
    folders = [f"class {i}" for i in range(25_000)]
    start = time.process_time()
    words(folders, {f: f for f in folders})
    assert time.process_time() - start < 5


def test_given_words_can_clash_too_and_can_mend_a_clash() -> None:
    assert problems(["a", "b"], {"a": "B"}) == [("a", "same_class_words")]
    assert words(["Cat", "cat"], {"cat": "kitten"}) == ("Cat", "kitten")


def test_decomposed_and_composed_names_are_one() -> None:
    assert words(["caf\u00e9"], {"cafe\u0301": "coffee house"}) == ("coffee house",)


def test_through_open_dataset(tmp_path: Path) -> None:
    files = {"0/1.jpg": jpeg(1), "0/2.jpg": jpeg(2), "1/1.jpg": jpeg(3), "1/2.jpg": jpeg(4)}
    folder = write_folder(tmp_path / "data", files)
    with load_dataset(folder, {"0": "brick", "1": "grass"}) as data:
        assert data.classes == ("0", "1")
        assert data.class_words == ("brick", "grass")
    with pytest.raises(DatasetError) as caught:
        load_dataset(folder, {"0": "brick", "2": "grass"})
    assert {(p.where, p.code) for p in caught.value.problems} == {
        ("2", "unknown_class_name"),
        ("1", "numeric_class"),
    }


def test_words_do_not_change_the_digest(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", two_classes())
    with load_dataset(folder) as plain, load_dataset(folder, {"cat": "kitty"}) as named:
        assert plain.sha256 == named.sha256


def test_names_that_look_the_same_in_another_alphabet_are_a_warning() -> None:
    findings = Findings()
    folders = ["cat", "c\u0430t", "dog", "red_fox", "r\u0435d fox", "кот"]
    class_words(folders, None, findings)
    (notice,) = findings.notices
    assert (notice.kind, notice.count) == ("look_alike", 2)
    assert "'cat' and 'c\u0430t' look the same" in notice.text
    assert "'red_fox' and 'r\u0435d fox' look the same" in notice.text
    assert findings.problems == ()


def test_names_that_differ_only_in_case_are_not_reported_twice() -> None:
    findings = Findings()
    class_words(["cat", "Cat"], None, findings)
    assert [problem.code for problem in findings.problems] == ["same_class_words"]
    assert findings.notices == ()


def test_wordnet_ids_are_translated_with_a_warning() -> None:
    findings = Findings()
    folders = ["n02690373", "n01531178", "n03126707", "n02012849", "n99999999", "sparrow"]
    given = {"n01531178": "a small yellow bird"}
    assert class_words(folders, given, findings) == (
        "airliner",
        "a small yellow bird",
        "n03126707",  # a crane, the machine
        "n02012849",  # a crane, the bird: WordNet has no other word for either
        "n99999999",
        "sparrow",
    )
    (notice,) = findings.notices
    assert notice.kind == "wordnet"
    assert "n02690373 is 'airliner'" in notice.text
    assert findings.problems == ()


def test_wordnet_ids_with_the_same_first_word_get_all_words() -> None:
    # drum: the instrument, and the container
    found = wordnet_words(["n03249569", "n03249956", "n02690373"])
    assert found["n02690373"] == "airliner"
    assert found["n03249569"].startswith("drum, ")
    assert len(set(found.values())) == len(found)


@pytest.mark.parametrize(
    "words", ["class 0", "Class 12", "A", "c07", "x1", "n02690373", "3fa9c1", "label 3"]
)
def test_codes_describe_nothing(words: str) -> None:
    assert is_code(words)


@pytest.mark.parametrize(
    "words", ["cat", "ox", "boeing 747", "T 34 tank", "class room", "犬", "facade"]
)
def test_words_are_no_codes(words: str) -> None:
    assert not is_code(words)


def test_warnings_of_a_kind_are_one_notice_with_all_files() -> None:
    findings = Findings()
    for n in range(5):
        findings.warning("dark", f"photo {n}", [f"{n}.jpg"] * 30)
    findings.warning("layout", "read as splits")
    dark, layout = findings.notices
    assert dark.text == "photo 0; photo 1; photo 2; and 2 more warnings of the kind 'dark'"
    assert (dark.count, len(dark.files)) == (150, 100)
    assert (layout.count, layout.files) == (1, ())
    assert findings.warnings[0] == "photo 0"
    assert findings.warnings[-1] == "and 2 more warnings of the kind 'dark'"
