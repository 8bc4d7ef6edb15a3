"""`dspt tune`, `audit` and `predict` as a user runs them, without any server."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pty
import re
import shutil
import signal
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from unittest.mock import patch

import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from dspt.cli import main
from tests.photographs import write_photographs

DSPT = Path(sys.executable).with_name("dspt")
CLASSES = ("brick", "coins", "moon")
TRAIN, TEST = 6, 3
SHORT = ("--epochs", "8", "--batch-size", "8")


class Cli:
    """Runs the installed command in a folder of its own, with a cache and hub of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("DSPT_")
        } | {
            "XDG_CACHE_HOME": str(home / "cache"),
            "HF_HOME": str(home / "hub"),
            "HF_HUB_OFFLINE": "1",
            "NO_COLOR": "1",
            "COLUMNS": "80",
        }

    def __call__(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [DSPT, *arguments],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def here(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """The same within this process: one of its own takes seconds to import torch."""
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.home),
            patch.dict(os.environ, self.environment, clear=True),
            patch.object(sys, "argv", ["dspt", *map(str, arguments)]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            main()
        return subprocess.CompletedProcess(
            arguments, ended.value.code, out.getvalue(), err.getvalue()
        )


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def photos(cli: Cli) -> Path:
    """Folder `photos` with train/, test/ and a file that is no image; photos.zip is the same."""
    folder = write_photographs(cli.home / "photos", CLASSES, train=TRAIN, test=TEST, seed=7)
    (folder / "train" / "moon" / "notes.jpg").write_text("not a photo")
    with zipfile.ZipFile(cli.home / "photos.zip", "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(cli.home))
    return folder


@pytest.fixture(scope="module")
def tuned(cli: Cli, photos: Path) -> subprocess.CompletedProcess[str]:
    """`dspt tune` on the folder."""
    return cli("tune", photos, "--out", "made/model.safetensors", *SHORT)


@pytest.fixture(scope="module")
def model(cli: Cli, tuned: subprocess.CompletedProcess[str]) -> Path:
    assert tuned.returncode == 0, tuned.stderr
    return cli.home / "made" / "model.safetensors"


def test_tune_tells_what_it_measured_and_saved(
    tuned: subprocess.CompletedProcess[str], model: Path
) -> None:
    told = tuned.stdout
    assert f"Accuracy on {TEST * len(CLASSES)} images in test/" in told
    assert re.search(r"zero-shot +│ +[\d.]+%", told)
    assert re.search(r"tuned prompt alone +│ +[\d.]+%", told)
    assert re.search(r"tuned +│ +[\d.]+%", told)
    why = "In cross-validation on 18 training images it gives the recorded label"
    assert why in " ".join(told.split())
    assert "Saved made/model.safetensors" in told
    assert model.stat().st_size < 32 << 10
    with safe_open(model, framework="pt") as file:
        assert set(file.keys()) == {"context", "matrix", "bias"}


def test_progress_and_remarks_go_to_stderr(tuned: subprocess.CompletedProcess[str]) -> None:
    assert "left out: train/moon/notes.jpg: not an image" in tuned.stderr
    assert "done" in tuned.stderr
    assert "100%" in tuned.stderr
    assert "\x1b" not in tuned.stdout + tuned.stderr, "no escapes where there is no terminal"


def test_the_saved_file_has_the_usual_permissions(cli: Cli, model: Path) -> None:
    usual = cli.home / "usual"
    usual.touch()
    assert stat.S_IMODE(model.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


def test_a_zip_gives_the_same_classifier_and_json_alone_on_stdout(
    cli: Cli, photos: Path, model: Path
) -> None:
    ran = cli.here("tune", "photos.zip", "--out", "zipped.safetensors", "--json", *SHORT)
    assert ran.returncode == 0
    document = json.loads(ran.stdout)
    assert document.keys() == {"model", "config", "metrics", "audit"}
    assert document["model"] == "zipped.safetensors"
    assert document["config"]["epochs"] == 8
    assert document["metrics"]["measured_on"] == "test"
    assert document["metrics"]["tuned"]["images"] == TEST * len(CLASSES)
    assert len(document["metrics"]["history"]) == 8
    assert len(document["audit"]["entries"]) == TRAIN * len(CLASSES)
    assert (cli.home / "zipped.safetensors").read_bytes() == model.read_bytes()


def test_features_are_kept_in_the_users_cache(cli: Cli, model: Path) -> None:
    assert (cli.home / "cache" / "dspt" / "features" / "features.sqlite").is_file()


def test_predict_answers_for_the_good_and_names_the_bad(
    cli: Cli, photos: Path, model: Path
) -> None:
    good = [photos / "test" / name / "0.png" for name in CLASSES]
    bad = photos / "train" / "moon" / "notes.jpg"
    ran = cli("predict", model, good[0], bad, *good[1:])
    assert (ran.returncode, ran.stderr) == (1, f"{bad}: not an image\n")
    lines = ran.stdout.splitlines()
    assert len(lines) == len(good)
    for line, file in zip(lines, good, strict=True):
        assert re.fullmatch(rf"{file}: (\w+ \d+\.\d%(, )?){{3}}", line)

    ran = cli.here("predict", model, good[0], bad, "missing.png", good[1], "--json")
    assert ran.returncode == 1
    assert ran.stderr == ""
    document = json.loads(ran.stdout)
    assert document.keys() == {"model", "served", "predictions"}
    first, *errors, last = document["predictions"]
    for entry, file, line in ((first, good[0], lines[0]), (last, good[1], lines[1])):
        assert entry["file"] == str(file)
        assert entry["top"][0] == {"label": entry["label"], "score": entry["score"]}
        assert sum(top["score"] for top in entry["top"]) == pytest.approx(1, abs=1e-5)
        assert f"{file}: {entry['label']} {entry['score']:.1%}" in line
    assert [(entry["file"], entry["error"]["message"]) for entry in errors] == [
        (str(bad), "not an image"),
        ("missing.png", "cannot be read: No such file or directory"),
    ]


def test_predict_takes_folders_and_writes_a_table(cli: Cli, photos: Path, model: Path) -> None:
    (cli.home / "new" / "deep").mkdir(parents=True)
    for number, name in enumerate(("10.png", "2.PNG", "deep/=1.png", ".hidden.png", "notes.txt")):
        shutil.copy(photos / "test" / CLASSES[number % 3] / "0.png", cli.home / "new" / name)
    (cli.home / "new" / "11.jpg").write_text("no image")
    ran = cli.here("predict", model, "new", "--csv", "answers.csv", "--json")
    assert ran.returncode == 1
    files = [answer["file"] for answer in json.loads(ran.stdout)["predictions"]]
    assert files == ["new/2.PNG", "new/10.png", "new/11.jpg", "new/deep/=1.png"]
    with (cli.home / "answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == files
    assert rows[2] == {"file": "new/11.jpg", "label": "", "score": "", "error": "not an image"}
    assert float(rows[0]["score"]) > 1 / len(CLASSES)
    (cli.home / "empty").mkdir()
    ran = cli.here("predict", model, "empty")
    assert ran.returncode == 2
    assert "error: empty: no images in this folder" in ran.stderr


def test_predict_refuses_a_classifier_of_another_backbone(
    cli: Cli, photos: Path, model: Path
) -> None:
    with safe_open(model, framework="pt") as file:
        manifest = json.loads(file.metadata()["manifest"])
        context = file.get_tensor("context")
    manifest["backbone_digest"] = "0" * 64
    other = cli.home / "other.safetensors"
    save_file({"context": context}, other, {"manifest": json.dumps(manifest)})
    ran = cli.here("predict", other, photos / "test" / "moon" / "0.png")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "error: tuned on builtin with weights 000000000000, but builtin has" in ran.stderr
    assert "load the backbone it was tuned on" in ran.stderr


def test_predict_refuses_what_is_no_classifier(cli: Cli, photos: Path, model: Path) -> None:
    image = photos / "test" / "moon" / "0.png"
    ran = cli.here("predict", image, image)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "error: 0.png: damaged or not a safetensors file" in ran.stderr
    assert "Traceback" not in ran.stderr
    ran = cli.here("predict", model, image, "--device", "gpu")
    assert ran.returncode == 2
    assert ran.stderr == "error: device is 'gpu' but should be auto, cpu, cuda or cuda:N\n"


def test_audit_shows_suspects_and_writes_all_files_to_a_csv(cli: Cli, photos: Path) -> None:
    wrong = cli.home / "wrong"
    shutil.copytree(photos / "train", wrong)
    (wrong / "brick" / "0.png").rename(wrong / "moon" / "brick in truth.png")
    ran = cli("audit", "wrong", "--csv", "ranked.csv", "--epochs", "30", "--batch-size", "8")
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

    # The same without a place to keep features, which is only worth a warning.
    (cli.home / "file").touch()
    uncached = Cli(cli.home)
    uncached.environment["XDG_CACHE_HOME"] = str(cli.home / "file")
    ran = uncached.here("audit", "wrong", "--json", "--epochs", "30", "--batch-size", "8")
    assert ran.returncode == 0
    assert "warning: image features are not cached" in ran.stderr
    document = json.loads(ran.stdout)
    assert document["can_tell"] is True
    assert [entry["file"] for entry in document["entries"]] == ranks
    assert document["suspects"] == len(shown)


def test_labels_put_right_in_the_audits_table_count(cli: Cli, photos: Path) -> None:
    folder = cli.home / "to correct"
    shutil.copytree(photos, folder)
    (folder / "train" / "moon" / "notes.jpg").unlink()
    wrong = "train/moon/=brick.png"  # a spreadsheet would take it for a formula
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


def test_audit_says_that_it_cannot_tell_and_held_out_labels_are_called_given(
    cli: Cli, photos: Path
) -> None:
    random = cli.home / "random"
    for name in CLASSES:
        for number in range(TRAIN):
            target = random / f"group {number % 3}" / f"{name} {number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(photos / "train" / name / f"{number}.png", target)
    (cli.home / "words.json").write_text('{"group 1": "rough surface"}')
    ran = cli.here(
        "tune", random, "--epochs", "4", "--batch-size", "8", "--class-names", "words.json"
    )
    assert ran.returncode == 0, ran.stderr
    text = " ".join(ran.stdout.split())
    assert "held-out images, compared with their recorded labels, which may be wrong" in text
    assert "Cannot tell which labels are wrong" in text
    with safe_open(cli.home / "model.safetensors", framework="pt") as file:
        manifest = json.loads(file.metadata()["manifest"])
    assert manifest["classes"] == ["group 0", "group 1", "group 2"]
    assert manifest["class_words"][1] == "rough surface"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["tune", "nowhere"], "path 'nowhere' does not exist"),
        (["audit", "nowhere.zip"], "path 'nowhere.zip' does not exist"),
        (["predict", "nowhere.safetensors", "x.png"], "'nowhere.safetensors' does not exist"),
        (["tune", "photos", "--class-names", "none.json"], "file 'none.json' does not exist"),
        (["tune", "photos", "--class-names", "no.json"], "error: no.json: not valid JSON"),
        (
            ["audit", "photos", "--class-names", "list.json"],
            "error: list.json: must be a JSON object that maps class folders to words",
        ),
        (
            ["tune", "photos", "--class-names", "unknown.json"],
            "error: mooon: class_names has words for this class, but the class folder does not",
        ),
        (
            ["tune", "photos", "--loss", "hinge", "--lr", "-1"],
            "error: loss is 'hinge' but should be 'dspt', 'ce', 'gce' or 'mae'; lr is -1.0 but",
        ),
        (["tune", "photos", "--epochs", "many"], "Invalid value for '--epochs'"),
        (["tune", "photos", "--epochs", "0"], "error: epochs is 0 but should be greater"),
        (["tune", "photos", "--epoch", "3"], "--epochs"),
        (["tune", "no.json"], "error: no.json: the file is not a zip"),
        (["tune", "photos/train/moon"], "error: photos/train/moon: no class folders"),
        (["tune", "photos", "--out", "no.json/model"], "error: no.json/model: cannot be written"),
        (["audit", "photos", "--csv", "no.json/a.csv"], "error: no.json/a.csv: cannot be written"),
        (
            ["tune", "photos", "--backbone", "ViT-B-17/openai"],
            "unknown backbone ViT-B-17 (did you mean ViT-B-16",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_named_and_leaves_with_2(
    cli: Cli, photos: Path, arguments: list[str], told: str
) -> None:
    (cli.home / "no.json").write_text("nothing like it")
    (cli.home / "list.json").write_text('["moon"]')
    (cli.home / "unknown.json").write_text('{"mooon": "the moon"}')
    ran = cli.here(*arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert told in ran.stderr


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (
            "tune",
            [
                "--out",
                "--json",
                "--corrections",
                "--class-names",
                "--backbone",
                "--loss",
                "--seed",
                "--shots",
            ],
        ),
        ("audit", ["--csv", "--corrections", "--most", "--json", "--class-names", "--epochs"]),
        ("predict", ["--top-k", "--backbone", "--device", "--json"]),
    ],
)
def test_help_names_every_option_and_its_default(
    cli: Cli, command: str, options: list[str]
) -> None:
    ran = cli.here(command, "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    text = " ".join(ran.stdout.split())
    for option in options:
        assert f"{option} " in text
    if command == "predict":
        assert "[default: 3;" in text
    else:
        assert "One of dspt, ce, gce, mae. [default: dspt]" in text
        assert "[default: 200]" in text
        assert "[default: a photo of a]" in text
    assert "None" not in text
    assert "`" not in text


def test_without_arguments_all_commands_are_listed(cli: Cli) -> None:
    told = cli("--help").stdout
    for command in ("tune", "audit", "predict", "serve", "api", "worker"):
        assert re.search(rf"^  {command} +\S", told, re.MULTILINE)
    ran = cli()
    assert ran.returncode == 2
    assert "Commands:" in ran.stdout + ran.stderr


def test_ctrl_c_stops_a_tuning_and_saves_nothing(cli: Cli, photos: Path) -> None:
    """On a terminal, so that the stages are seen as they come."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [DSPT, "tune", photos, "--epochs", "1000", "--out", "stopped.safetensors"],
        cwd=cli.home,
        env=cli.environment | {"TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        # Where the tests run in the background SIGINT is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(slave)
    seen = ""
    while "tuning" not in seen:
        seen += os.read(master, 4096).decode(errors="replace")
    process.send_signal(signal.SIGINT)
    seen += rest_of(master)
    os.close(master)
    assert process.wait(timeout=600) == 130
    assert "validating" in seen
    assert "encoding" in seen
    assert "Traceback" not in seen
    assert not list(cli.home.glob("*stopped*"))


def rest_of(terminal: int) -> str:
    """Everything written to a terminal until its last writer closes it."""
    parts: list[bytes] = []
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:  # how Linux tells that the other end is closed
            break
        if not data:
            break
        parts.append(data)
    return b"".join(parts).decode(errors="replace")
