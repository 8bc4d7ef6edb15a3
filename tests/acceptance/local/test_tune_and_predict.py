"""`dspt tune` and `dspt predict` without a server."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from tests.acceptance.local.conftest import CLASSES, DSPT, SHORT, TEST, TRAIN, Cli


def test_tune_prints_the_accuracy_and_saves_the_model(
    tuned: subprocess.CompletedProcess[str], model: Path
) -> None:
    message = tuned.stdout
    assert f"Accuracy on {TEST * len(CLASSES)} images in test/" in message
    assert re.search(r"zero-shot +│ +[\d.]+%", message)
    assert re.search(r"tuned prompt alone +│ +[\d.]+%", message)
    assert re.search(r"tuned +│ +[\d.]+%", message)
    why = "In cross-validation on 18 training images it gives the recorded label"
    assert why in " ".join(message.split())
    assert "Saved made/model.safetensors" in message
    assert model.stat().st_size < (16 + 8 * len(CLASSES)) << 10
    with safe_open(model, framework="pt") as file:
        assert set(file.keys()) == {"context", "matrix", "bias", "class_means"}


def test_progress_and_warnings_go_to_stderr(tuned: subprocess.CompletedProcess[str]) -> None:
    assert "left out: train/moon/notes.jpg: not an image" in tuned.stderr
    assert "done" in tuned.stderr
    assert "100%" in tuned.stderr
    assert "\x1b" not in tuned.stdout + tuned.stderr, "no escape codes without a terminal"


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
    assert document["config"]["epochs"] == 3
    assert document["metrics"]["measured_on"] == "test"
    assert document["metrics"]["tuned"]["images"] == TEST * len(CLASSES)
    assert len(document["metrics"]["history"]) == 3
    assert len(document["audit"]["entries"]) == TRAIN * len(CLASSES)
    assert (cli.home / "zipped.safetensors").read_bytes() == model.read_bytes()


def test_features_are_kept_in_the_users_cache(cli: Cli, model: Path) -> None:
    assert (cli.home / "cache" / "dspt" / "features" / "features.sqlite").is_file()


def test_random_labels_are_not_ranked(cli: Cli, photos: Path) -> None:
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


def test_predict_classifies_readable_images_and_lists_the_others(
    cli: Cli, photos: Path, model: Path
) -> None:
    good = [photos / "test" / name / "0.png" for name in CLASSES]
    bad = photos / "train" / "moon" / "notes.jpg"
    ran = cli.here("predict", model, good[0], bad, *good[1:])
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
    (cli.home / "new" / "notes.txt").write_text("neither")
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


def test_predict_refuses_other_files(cli: Cli, photos: Path, model: Path) -> None:
    image = photos / "test" / "moon" / "0.png"
    ran = cli.here("predict", image, image)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "error: 0.png: damaged or not a safetensors file" in ran.stderr
    assert "Traceback" not in ran.stderr
    ran = cli.here("predict", model, image, "--device", "gpu")
    assert ran.returncode == 2
    assert ran.stderr == "error: device is 'gpu' but should be auto, cpu, cuda or cuda:N\n"


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
        except OSError:  # on Linux: the other end is closed
            break
        if not data:
            break
        parts.append(data)
    return b"".join(parts).decode(errors="replace")
