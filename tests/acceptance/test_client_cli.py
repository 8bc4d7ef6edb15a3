"""A person at a shell beside the running service, with `dspt jobs` and `dspt models`; in Python."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx
import pytest
from dspt_client import Client, JobFailed
from typer.testing import Result

from tests.acceptance.photos import COLOURS, photo, photos
from tests.acceptance.service import QUICK, Json
from tests.commands import invoke

WRONG = "train/lime/of an apple.png"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos on a disk, one in the wrong folder."""
    train = photos(*COLOURS, count=6, folder="train/")
    train[WRONG] = train.pop("train/apple/0.png")
    for name, content in (
        train | photos(*COLOURS, count=3, folder="test/", first_seed=100)
    ).items():
        (tmp_path / "fruit" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fruit" / name).write_bytes(content)
    return tmp_path / "fruit"


@pytest.fixture(autouse=True)
def _environment(service: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPT_URL", str(service.base_url))
    monkeypatch.setenv("COLUMNS", "150")


def here(*arguments: str | Path, ends: int = 0) -> Result:
    """Run a command in this process; one of its own would take seconds to start."""
    ran = invoke(arguments)
    assert ran.exit_code == ends, ran.output
    return ran


def dspt(*arguments: str | Path) -> str:
    """What a command prints."""
    return here(*arguments).stdout


def test_submit_check_and_correct(folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(folder / "test")
    wrong = WRONG.removeprefix("train/")  # the only folder is no part of the names
    submit = ("jobs", "submit", folder, "--epochs", "2", "--watch")
    said = subprocess.run(  # in a process of its own, as a user's is
        [Path(sys.executable).with_name("dspt"), *submit],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    ).stdout
    job_id = said.split()[0]
    assert f"{job_id} has succeeded." in said
    assert "tuned prompt alone" in said
    assert f"dspt jobs audit {job_id}" in said

    table = tmp_path / "to-check.csv"
    assert f"All 24 files ranked in {table}." in dspt("jobs", "audit", job_id, "--csv", table)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["correct_label"] = "apple" if row["file"] == wrong else ""
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    named = ("--name", "fruit, second pass")
    done = dspt("jobs", "correct", job_id, "--csv", table, *named, "--watch", "--json")
    corrected: Json = json.loads(done)
    assert corrected["status"] == "succeeded"
    assert corrected["name"] == "fruit, second pass"
    assert corrected["dataset"]["corrections"]["relabelled"] == 1

    change, compared = corrected["change"], dspt("jobs", "show", corrected["id"])
    assert change["verdict"] in " ".join(compared.split())
    wrong_now = json.loads(dspt("jobs", "predictions", corrected["id"], "--wrong", "--json"))
    assert wrong_now["images"] == change["images"]
    assert {e["file"] for e in wrong_now["entries"]}.issuperset(change["lost"])
    assert f"of {change['images']} photos." in dspt("jobs", "predictions", job_id)

    # The photos that the first job held out are a fair test of both, with the corrected labels.
    models = [json.loads(dspt("jobs", "show", job_id, "--json")), corrected]
    held_out = [
        {e["file"]: e["given"] for e in audit["entries"] if e["held_out"]}
        for audit in (json.loads(dspt("jobs", "audit", job["id"], "--json")) for job in models)
    ]
    assert held_out[0].keys() == held_out[1].keys()
    assert len(held_out[0]) == models[0]["metrics"]["tuned"]["images"]
    compare = ("models", "compare", models[0]["model_id"], "fruit, second pass")
    found = json.loads(dspt(*compare, "--json"))
    assert (found["part"], found["images"]) == ("held_out", len(held_out[1]))
    assert found["dataset_id"] == corrected["dataset"]["id"]
    images = {row["name"]: row["images"] for row in found["per_class"]}
    assert images == dict(Counter(held_out[1].values()))
    assert "the jobs of both held out" in " ".join(dspt(*compare).split())

    assert corrected["model_id"] in dspt("models", "list")
    saved = tmp_path / "model.safetensors"
    dspt("models", "export", corrected["model_id"], "--out", saved)
    again = json.loads(dspt("models", "import", saved, "--name", "again", "--json"))
    assert (again["name"], again["classes"]) == ("again", sorted(COLOURS))


def test_a_folder_is_classified_by_an_alias(folder: Path, tuned: Json) -> None:
    here("models", "promote", tuned["model_id"])
    test, table = folder / "test", folder.with_name("answers.csv")
    document = json.loads(here("predict", "production", test, "--json").stdout)
    assert (document["model"], document["alias"]) == (tuned["model_id"], "production")
    files = [f"{name}/{seed}.png" for name in sorted(COLOURS) for seed in (100, 101, 102)]
    assert [answer["file"] for answer in document["predictions"]] == [
        str(test / file) for file in files
    ]
    right = [Path(a["file"]).parent.name == a["label"] for a in document["predictions"]]
    assert sum(right) > 9
    assert len(document["predictions"][0]["top"]) == 3

    unsure = here("predict", "production", test / "lime", "--reject-below", "1").stdout
    assert unsure.count("none of these? lime") == 3
    (test / "lime" / "no.png").write_bytes(b"no image")
    said = here(
        "predict", "production", test / "lime", "gone.png", "--csv", table, "--top-k", "1", ends=1
    )
    assert said.stdout == f"Saved {table} (5 images).\n"
    assert "no.png: not an image" in said.stderr
    assert "gone.png: cannot be read: No such file or directory" in said.stderr
    with table.open(newline="") as file:
        assert [bool(row["error"]) for row in csv.DictReader(file)] == [False] * 3 + [True] * 2
    assert "gone.png" in here("predict", "production", "gone.png", ends=1).stderr
    refused = here("predict", "no-such-model", test / "lime", ends=2)
    assert "There is no model 'no-such-model'" in refused.stderr
    here("predict", "production", "gone.png", "--device", "cpu", ends=2)
    here("models", "unalias", "production")


def test_the_same_in_python(service: httpx.Client, folder: Path, tuned: Json) -> None:
    with Client(str(service.base_url)) as client:
        job = client.jobs.get(tuned["id"])
        job.wait(progress=True)
        assert job.model_id is not None
        table = job.audit().to_pandas()
        assert len(table) == 24
        names = [name for name in COLOURS for _ in range(20)]
        answer = client.predict(
            job.model_id, [photo(name, seed) for seed, name in enumerate(names, 500)], top_k=1
        )
        assert len(answer.predictions) == 80  # in two requests
        right = [p.label == name for p, name in zip(answer.predictions, names, strict=True)]
        assert sum(right) > 70
        for file in (folder / "train").rglob("*.png"):
            file.write_bytes(b"no image")
        with pytest.raises(JobFailed) as caught:
            client.jobs.create(folder, config=QUICK).wait(timeout=600)
        assert caught.value.problems
