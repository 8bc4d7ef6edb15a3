"""`dspt audit`, and its table with corrections."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

from tests.acceptance.local.conftest import CLASSES, SHORT, TRAIN, Cli


def test_audit_shows_suspects_and_writes_all_files_to_a_csv(cli: Cli, photos: Path) -> None:
    wrong = cli.home / "wrong"
    shutil.copytree(photos / "train", wrong)
    (wrong / "brick" / "0.png").rename(wrong / "moon" / "brick in truth.png")
    short = ("--epochs", "4", "--batch-size", "8")
    ran = cli.here("audit", "wrong", "--csv", "ranked.csv", "--html", "check.html", *short)
    assert ran.returncode == 0, ran.stderr
    assert "of 18 labels to check" in ran.stdout
    assert "agree with" in ran.stdout
    assert "All 18 files ranked in ranked.csv." in ran.stdout
    with (cli.home / "ranked.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    ranks = [row["file"] for row in rows]
    assert ranks.index("moon/brick in truth.png") < 3
    assert {row["suspect"] for row in rows} <= {"true", "false"}
    assert {row["correct_label"] for row in rows} == {""}
    shown = [row["file"] for row in rows if row["suspect"] == "true"]
    assert all(file in ran.stdout for file in shown)

    # The page has their photos.
    page = (cli.home / "check.html").read_text("utf-8")
    assert page.count("data:image/jpeg;base64,") == 18

    # The same without a place to keep features, which only causes a warning.
    (cli.home / "file").touch()
    uncached = Cli(cli.home)
    uncached.environment["XDG_CACHE_HOME"] = str(cli.home / "file")
    ran = uncached.here("audit", "wrong", "--json", *short)
    assert ran.returncode == 0
    assert "warning: image features are not cached" in ran.stderr
    document = json.loads(ran.stdout)
    assert document["can_tell"] is True
    assert [entry["file"] for entry in document["entries"]] == ranks
    assert document["suspects"] == len(shown)


def test_audit_takes_predictions_made_elsewhere(cli: Cli) -> None:
    files = [f"{number:02}.jpg" for number in range(40)]
    truth = ["cat" if number % 2 else "dog" for number in range(40)]
    given = ["cat" if file == "04.jpg" else name for file, name in zip(files, truth, strict=True)]
    labels, probabilities = cli.home / "y.csv", cli.home / "p.csv"
    lines = [f"{file},{name}" for file, name in zip(files, given, strict=True)]
    labels.write_text("\n".join(["file,label", *lines]))
    lines = [
        f"{file},{0.9 if name == 'dog' else 0.1},{0.9 if name == 'cat' else 0.1}"
        for file, name in zip(files, truth, strict=True)
    ]
    probabilities.write_text("\n".join(["file,dog,cat", *reversed(lines)]))
    inputs = ("--labels", labels, "--probabilities", probabilities)
    ran = cli.here("audit", *inputs, "--json", "--csv", "predicted.csv")
    assert ran.returncode == 0, ran.stderr
    first = json.loads(ran.stdout)["entries"][0]
    assert (first["file"], first["given"], first["suggested"]) == ("04.jpg", "cat", "dog")
    assert first["p_zero_shot"] is None
    with (cli.home / "predicted.csv").open(newline="", encoding="utf-8") as file:
        assert next(csv.DictReader(file))["file"] == "04.jpg"
    assert "1 of 40 labels to check" in cli.here("audit", *inputs).stdout

    for arguments, message in (
        (("--labels", labels), "pass either a folder or zip of labelled photos, or both --labels"),
        ((cli.home, *inputs), "pass either a folder or zip of labelled photos, or both --labels"),
        ((), "pass either a folder or zip"),
        ((*inputs, "--epochs", "3"), "take no corrections, class names or settings of the tuning"),
    ):
        ran = cli.here("audit", *arguments)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert message in ran.stderr
    labels.write_text(labels.read_text().replace("01.jpg,cat", "01.jpg,fox"))
    ran = cli.here("audit", *inputs)
    assert ran.returncode == 2
    assert "y.csv, p.csv: label 'fox' in row 38 is not a class" in ran.stderr


def test_corrections_in_the_table_of_the_audit_are_applied(cli: Cli, photos: Path) -> None:
    folder = cli.home / "to correct"
    shutil.copytree(photos, folder)
    (folder / "train" / "moon" / "notes.jpg").unlink()
    wrong = "train/moon/=brick.png"  # a spreadsheet would read it as a formula
    (folder / "train" / "brick" / "0.png").rename(folder / wrong)
    assert cli.here("audit", folder, "--csv", "check.csv", *SHORT).returncode == 0
    table = cli.home / "check.csv"
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["file"] == wrong:
            row["correct_label"] = "brick"
        elif row["file"] == "train/coins/5.png":
            row["correct_label"] = "drop"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)

    ran = cli.here("audit", folder, "--corrections", table, "--json", *SHORT)
    assert ran.returncode == 0, ran.stderr
    entries = json.loads(ran.stdout)["entries"]
    given = {entry["file"]: entry["given"] for entry in entries}
    assert len(given) == TRAIN * len(CLASSES) - 1
    assert given[wrong] == "brick"
    assert "train/coins/5.png" not in given
    ran = cli.here("tune", folder, "--corrections", table, "--json", *SHORT)
    assert json.loads(ran.stdout)["audit"]["entries"] == entries

    # A second audit does not overwrite corrections, and mistakes in them are reported.
    kept = table.read_bytes()
    ran = cli.here("audit", folder, "--csv", table)
    assert (ran.returncode, table.read_bytes()) == (2, kept)
    assert "contains corrections and is not overwritten" in ran.stderr
    ran = cli.here("tune", folder, "--corrections", table, "--corrections", table)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "error: train/coins/5.png: there is no training image of this name" in ran.stderr
    (cli.home / "empty.csv").write_text("file,correct_label\n")
    ran = cli.here("tune", folder, "--corrections", "empty.csv")
    assert ran.returncode == 2
    assert "error: empty.csv: the column correct_label is empty" in ran.stderr
