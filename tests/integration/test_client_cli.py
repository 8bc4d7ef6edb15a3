"""`dspt jobs` and `dspt models` against the real API: what they print, where, and how they end."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dspt_client import Client
from dspt_client.schemas.status import Status
from PIL import Image

from app.batches.lease import BatchLease
from app.jobs import repository
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.settings import Settings
from app.tables.jobs import Job
from app.tables.models import Model
from dspt.cli import terminal
from tests.acceptance.photos import encoded
from tests.commands import invoke
from tests.integration.conftest import zip_of
from tests.integration.jobs import ERROR, add_job, bring_to, claim, make_model
from tests.integration.own_api import running
from tests.receiver import receiver
from tests.services import wait_until

NO_JOB = "job_" + "0" * 26
MODEL = "mdl_" + "0" * 26
AUDIT = {
    "can_tell": True,
    "why": "it is clear",
    "suspects": 1,
    "noise_rate": {"estimate": 0.5, "low": 0.2, "high": 0.7},
    "entries": [
        {
            "file": file,
            "given": "cat",
            "suggested": "dog",
            "score": score,
            "p_tuned": 0.1,
            "p_zero_shot": 0.2,
            "suppression": 0.3,
            "suspect": score > 0.5,
        }
        for file, score in (("=cat/1.png", 0.9), ("cat/2.png", 0.1))
    ],
}


PART = {"accuracy": 0.875, "accuracy_interval": [0.5, 1], "calibration_error": 0.1, "images": 8}
METRICS = {
    "measured_on": "test",
    "served": "tuned",
    "why": "it is better",
    "tuned": PART,
    "prompt": PART,
    "zero_shot": PART | {"accuracy": 0.5},
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Context]]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("cli"),
        event_poll_seconds=0.02,
        private_hosts=["127.0.0.1"],
    )
    with running(settings) as started:
        yield started


@pytest.fixture
def context(api: tuple[str, Context], monkeypatch: pytest.MonkeyPatch) -> Context:
    """Behind the service that the commands talk to."""
    monkeypatch.setenv("DSPT_URL", api[0])
    for console in (terminal.out, terminal.err):  # they look at COLUMNS when they are made
        monkeypatch.setattr(console, "width", 200)
    return api[1]


def dspt(*arguments: str | Path, ends: int = 0) -> Any:
    result = invoke(arguments)
    assert result.exit_code == ends, result.output
    return result


def document(*arguments: str | Path, ends: int = 0) -> Any:
    """The one JSON document on standard output."""
    return json.loads(dspt(*arguments, "--json", ends=ends).stdout)


def done(context: Context, rejected: list[dict[str, str]] | None = None) -> str:
    """A job that has succeeded, with an audit."""
    job_id = bring_to(context, Status.QUEUED)
    lease = claim(context, job_id)
    lease.start_running(
        {"images": 2, "classes": ["cat", "dog"], "rejected": rejected or [], "split": {}}
    )
    key = f"audits/{job_id}.json"
    context.storage.put_bytes(key, json.dumps(AUDIT).encode())
    model = make_model(job_id)
    model.metrics = METRICS
    lease.succeed(model, config={}, metrics=METRICS, audit_key=key)
    return job_id


def test_a_job_is_submitted_listed_shown_and_cancelled(context: Context, tmp_path: Path) -> None:
    for name in ("cat/1.png", "dog/1.png"):
        (tmp_path / "pets" / name).parent.mkdir(parents=True)
        (tmp_path / "pets" / name).write_bytes(b"not looked at")
    words = tmp_path / "words.json"
    words.write_text('{"cat": "tabby cat"}')
    options = ["--epochs", "7", "--class-specific-context", "--class-names", words]
    job = document("jobs", "submit", tmp_path / "pets", "--name", "[b]pets[/b]", *options)
    assert (job["status"], job["config"]["epochs"], job["name"]) == ("queued", 7, "[b]pets[/b]")
    assert job["config"]["class_specific_context"] is True
    assert job["class_names"] == {"cat": "tabby cat"}

    (listed,) = document("jobs", "list", "--status", "queued", "--limit", "1")
    assert (listed["id"], listed["summary"]) == (job["id"], True)
    assert document("jobs", "list", "--status", "running") == []
    assert "No jobs." in dspt("jobs", "list", "--status", "running").stdout
    table = dspt("jobs", "list").stdout
    assert job["id"] in table
    assert "[b]pets[/b]" in table
    assert document("jobs", "show", job["id"]) == job
    shown = dspt("jobs", "show", job["id"]).stdout
    assert "waiting: no worker is running" in shown
    assert document("jobs", "cancel", job["id"])["status"] == "cancelled"
    assert document("jobs", "retry", job["id"])["status"] == "queued"
    dspt("jobs", "cancel", job["id"])
    ended = dspt("jobs", "watch", job["id"], ends=1)
    assert f"error: {job['id']} was cancelled" in ended.stderr
    # The data set is there, and is not sent again.
    again = document("jobs", "submit", job["dataset"]["id"])
    assert again["dataset"]["sha256"] == job["dataset"]["sha256"]
    assert again["config"]["epochs"] != 7


def test_a_batch_from_a_flat_folder(context: Context, tmp_path: Path) -> None:
    for job in document("jobs", "list", "--limit", "100"):  # else their turn comes first
        if job["status"] == "queued":
            dspt("jobs", "cancel", job["id"])
    model = make_model("")
    model.job_id = None
    with context.database.write() as session:
        session.add(model)
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "1.png").write_bytes(encoded(Image.new("RGB", (8, 8))))
    made = document("batches", "submit", model.id, tmp_path / "flat", "--name", "new ones")
    assert (made["status"], made["filename"]) == ("queued", "flat.zip")
    assert "new ones" in dspt("batches", "list").stdout
    assert document("batches", "cancel", "new ones")["status"] == "cancelled"
    assert document("batches", "retry", made["id"])["status"] == "queued"
    lease = BatchLease.claim_next(context, "worker")
    assert lease is not None
    lease.opened(1)
    lease.store(0, [{"file": "1.png", "label": "cat", "score": 0.5}])
    lease.succeed()
    assert "1 of 1" in dspt("batches", "show", made["id"][:-1]).stdout
    table = tmp_path / "a.csv"
    dspt("batches", "results", "new ones", "--format", "csv", "--out", table)
    assert table.read_text().splitlines()[1] == "1.png,cat,0.5,,"
    with Client() as client:
        assert client.batches.wait(made["id"]).status == "succeeded"
        assert [each.label for each in client.batches.results(made["id"])] == ["cat"]
    assert document("batches", "delete", "new ones") == {"batch": made["id"], "deleted": True}


def test_webhooks_are_added_listed_replayed_and_deleted(context: Context) -> None:
    with receiver() as received:
        received.statuses.append(410)
        added = document("webhooks", "add", received.url, "--event", "job.cancelled")
        job_id = add_job(context)
        dspt("jobs", "cancel", job_id)
        with Client() as client:
            wait_until(lambda: client.webhooks.get(added["id"]).disabled_at, 60, "410")
        assert "Gone" in dspt("webhooks", "list").stdout
        [failed] = document("webhooks", "deliveries", added["id"], "--status", "failed")
        assert (failed["response_status"], failed["event"]["data"]["id"]) == (410, job_id)
        assert "answered 410" in dspt("webhooks", "deliveries", added["id"]).stdout
        assert document("webhooks", "enable", added["id"])["failures"] == 0
        replayed = document("webhooks", "replay", added["id"], failed["id"])
        assert replayed["status"] == "pending"
        wait_until(lambda: len(received.requests) == 2, 60, "the replay")
        assert document("webhooks", "delete", added["id"]) == {
            "webhook": added["id"],
            "deleted": True,
        }
    created, secret = dspt("webhooks", "add", "https://host.invalid/").stdout.splitlines()
    assert secret.startswith("whsec_")
    dspt("webhooks", "delete", created.split()[1].rstrip("."))


def test_data_sets_are_uploaded_listed_looked_at_and_deleted(
    context: Context, tmp_path: Path
) -> None:
    for name in ("train/cat/1.png", "train/dog/1.png", "test/dog/2.png"):
        (tmp_path / "zoo" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "zoo" / name).write_bytes(encoded(Image.new("RGB", (400, 300))))
    made = document("datasets", "upload", tmp_path / "zoo")
    assert (made["filename"], made["images"]) == ("zoo.zip", 3)
    assert made["id"] in [each["id"] for each in document("datasets", "list")]
    assert "zoo.zip" in dspt("datasets", "list").stdout
    for text in ("zoo.zip", made["id"][:-1], made["id"]):
        assert document("datasets", "show", text) == made
    assert "dog" in dspt("datasets", "show", "zoo.zip").stdout
    dogs = document("datasets", "images", "zoo.zip", "--label", "dog")
    assert [photo["file"] for photo in dogs] == ["test/dog/2.png", "train/dog/1.png"]
    assert "test/dog/2.png" in dspt("datasets", "images", "zoo.zip", "--split", "test").stdout
    with Client() as client:
        data = client.datasets.image(made["id"], dogs[0]["number"], size="192")
    with Image.open(io.BytesIO(data)) as thumbnail:
        assert thumbnail.size == (192, 144)
    job = document("jobs", "submit", made["id"])
    assert "Delete those jobs first" in dspt("datasets", "delete", "zoo.zip", ends=1).stderr
    dspt("jobs", "cancel", job["id"])
    dspt("jobs", "delete", job["id"])
    assert document("datasets", "delete", "zoo.zip") == {"dataset": made["id"], "deleted": True}
    assert "There is no data set 'zoo.zip'" in dspt("datasets", "show", "zoo.zip", ends=2).stderr
    not_one = tmp_path / "one.zip"
    not_one.write_bytes(zip_of({"cat/1.png": b""}))
    assert "two" in dspt("datasets", "upload", not_one, ends=2).stderr


def named_job(context: Context, name: str) -> str:
    job_id = bring_to(context, Status.QUEUED)
    with context.database.write() as session:
        session.get_one(Job, job_id).name = name
    return job_id


def test_a_job_is_found_by_a_beginning_of_its_id_or_by_name(context: Context) -> None:
    job_id, twin = named_job(context, "autumn catalogue"), named_job(context, "twin")
    assert document("jobs", "show", "autumn catalogue")["id"] == job_id
    assert document("jobs", "show", job_id[:-1])["id"] == job_id
    also = named_job(context, "twin")
    refused = dspt("jobs", "show", "twin", ends=2)
    assert "'twin' matches 2 jobs" in refused.stderr
    assert twin in refused.stderr
    assert also in refused.stderr
    for text in ("job_", "job_zz", "autumn", "nothing"):
        refused = dspt("jobs", "cancel", text, ends=2)
        assert f"There is no job {text!r}" in refused.stderr
    assert document("jobs", "cancel", "autumn catalogue")["id"] == job_id
    refused = dspt("jobs", "delete", also, ends=1)
    assert "Cancel it first" in refused.stderr
    assert f"Deleted {job_id}." in dspt("jobs", "delete", "autumn catalogue").stdout
    assert document("jobs", "cancel", twin)["status"] == "cancelled"
    assert document("jobs", "delete", twin) == {"job": twin, "deleted": True}
    assert "There is no job" in dspt("jobs", "show", twin, ends=1).stderr


def test_a_model_is_found_by_a_beginning_of_its_id_by_name_or_by_alias(context: Context) -> None:
    model_id = add_model(context)
    with context.database.write() as session:
        session.get_one(Model, model_id).name = "Winter; two"
    dspt("models", "promote", "Winter; two", "--alias", "winter")
    for text in ("Winter; two", model_id[:-1], "winter", model_id):
        assert document("models", "show", text)["id"] == model_id
    assert "There is no model 'summer'" in dspt("models", "show", "summer", ends=2).stderr
    dspt("models", "unalias", "winter")
    assert document("models", "delete", "Winter; two") == {"model": model_id, "deleted": True}


def test_files_left_out_are_listed_by_name(context: Context) -> None:
    rejected = [
        {"file": "cat/IMG_1.HEIC", "reason": "HEIC is not supported"},
        {"file": "[b]notes[/b].txt", "reason": "not an image"},
        {"file": "", "reason": "and 3 more files"},
    ]
    job_id = done(context, rejected)
    wanted = [f"left out: {each['file']}: {each['reason']}" for each in rejected[:2]]
    wanted.append("left out: and 3 more files")
    shown = dspt("jobs", "show", job_id).stdout.splitlines()
    assert [line for line in shown if line.startswith("left out")] == wanted
    assert dspt("jobs", "watch", job_id).stderr.splitlines() == wanted
    assert dspt("jobs", "watch", job_id, "--json").stderr == ""


def test_lists_show_the_accuracy(context: Context) -> None:
    job_id = done(context)
    model_id = document("jobs", "show", job_id)["model_id"]
    for kind, one in (("jobs", job_id), ("models", model_id)):
        listed = dspt(kind, "list", "--limit", "1000").stdout.splitlines()
        assert [line for line in listed if one in line and " 87.5% " in line]


def test_a_list_fits_a_narrow_terminal_and_is_whole_in_a_pipe(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "autumn catalogue of shoes and hats, corrected by hand for the second time"
    job_id = named_job(context, name)
    monkeypatch.setattr(terminal.out, "width", terminal._PIPE_WIDTH)
    line = next(line for line in dspt("jobs", "list").stdout.splitlines() if job_id in line)
    assert name in line
    monkeypatch.setattr(terminal.out, "width", 80)
    monkeypatch.setattr(terminal.out, "_force_terminal", True)
    monkeypatch.setattr(terminal.out, "no_color", True)
    listed = re.sub(r"\x1b\[[0-9;]*m", "", dspt("jobs", "list").stdout).splitlines()
    assert max(map(len, listed)) <= 80
    first = next(line for line in listed if line.startswith(job_id[:16]))
    short = first.split()[0]
    assert len(short) < len(job_id)
    assert document("jobs", "show", short)["id"] == job_id


def test_a_failed_job_is_exit_code_1_and_a_document(context: Context) -> None:
    job_id = bring_to(context, Status.VALIDATING)
    problems = [{"where": "cat/[1].png", "code": "x", "message": "cannot be read"}]
    with context.database.write() as session:
        error = ERROR | {"message": "no good", "problems": problems}
        assert repository.move(session, job_id, Status.FAILED, values={"error": error})
    result = dspt("jobs", "watch", job_id, "--json", ends=1)
    assert json.loads(result.stdout)["status"] == "failed"
    assert result.stderr.splitlines() == [
        f"error: {job_id} failed: no good",
        "  cat/[1].png: cannot be read",
    ]
    assert "cat/[1].png: cannot be read" in dspt("jobs", "show", job_id).stdout


def test_the_audit_as_a_table_a_file_and_a_document(context: Context, tmp_path: Path) -> None:
    job_id, table = done(context), tmp_path / "to-check.csv"
    shown = dspt("jobs", "audit", job_id, "--csv", table).stdout
    assert "1 of 2 labels to check" in shown
    assert "estimated share of wrong labels: 50%" in shown
    assert f"All 2 files ranked in {table}." in shown
    lines = table.read_text().splitlines()
    assert lines[0].startswith("file,given,suggested,correct_label,score")
    assert lines[1].startswith("'=cat/1.png,cat,dog,,0.9")  # a spreadsheet must not run it
    found = document("jobs", "audit", job_id)
    assert (found["suspects"], found["entries"][0]["file"]) == (1, "=cat/1.png")

    # The photos of this job are not a data set, so the page has none.
    page = tmp_path / "check.html"
    assert f"Open {page} in a browser" in dspt("jobs", "audit", job_id, "--html", page).stdout
    assert '"file": "=cat/1.png"' in page.read_text("utf-8")

    table.write_text(lines[0] + "\ncat/2.png,cat,dog,drop" + "," * lines[0].count(",") + "\n")
    refused = dspt("jobs", "audit", job_id, "--csv", table, ends=2)
    assert "contains corrections and is not overwritten" in refused.stderr
    dspt("jobs", "audit", job_id, "--csv", tmp_path / "no" / "such" / "folder.csv")


def test_wrong_corrections_are_reported_and_others_create_a_job(
    context: Context, tmp_path: Path
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("file,correct_label\ncat/2.png,horse\nnowhere.png,dog\n")
    job_id = done(context)
    said = dspt("jobs", "correct", job_id, "--csv", table, ends=1).stderr
    assert "nowhere.png" in said
    assert "horse" in said
    table.write_bytes("file,correct_label\ncat/2.png,größe\n".encode("cp1252"))
    said = dspt("jobs", "correct", job_id, "--csv", table, ends=1).stderr
    assert f"{table} line 2" in said
    table.write_text("file,correct_label\ncat/2.png,dog\n")
    new = document("jobs", "correct", job_id, "--csv", table, "--name", "second & last")
    assert new["name"] == "second & last"


def test_the_decisions_of_a_table_become_verdicts_and_verdicts_a_job(
    context: Context, tmp_path: Path
) -> None:
    table, job_id = tmp_path / "t.csv", done(context)
    table.write_text("file,correct_label\n'=cat/1.png,keep\ncat/2.png,dog\n")
    shown = dspt("jobs", "review", job_id, "--csv", table).stdout
    assert "1 kept, 1 relabelled, 0 dropped." in shown
    found = document("jobs", "review", job_id)
    assert (found["version"], found["verdicts"]["cat/2.png"]["label"]) == (2, "dog")
    assert found["verdicts"]["=cat/1.png"]["action"] == "keep"
    assert "--review" in dspt("jobs", "correct", job_id, ends=2).stderr
    new = document("jobs", "correct", job_id, "--review")
    corrections = new["dataset"]["corrections"]
    assert (corrections["relabelled"], corrections["kept"]) == (1, 1)


def add_model(context: Context) -> str:
    """A classifier without a job."""
    model = make_model("")
    model.job_id, model_id = None, model.id
    with context.database.write() as session:
        session.add(model)
    return model_id


def test_models_are_listed_shown_taken_out_and_deleted(context: Context, tmp_path: Path) -> None:
    model_id, content = add_model(context), b"a classifier"
    context.storage.put_bytes(storage_keys.model(model_id), content)
    assert document("models", "list", "--limit", "1")[0]["object"] == "model"
    assert model_id in dspt("models", "list", "--limit", "1000").stdout
    assert document("models", "show", model_id)["classes"] == ["cat", "dog"]
    assert "cat, dog" in dspt("models", "show", model_id).stdout
    # Its digest is made up, so what comes is not what was promised.
    damaged = dspt("models", "export", model_id, "--out", tmp_path, ends=1)
    assert "was damaged" in damaged.stderr
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(content)
    assert "error: " in dspt("models", "import", bad, ends=1).stderr
    assert document("models", "delete", model_id) == {"model": model_id, "deleted": True}
    assert "There is no model" in dspt("models", "show", model_id, ends=1).stderr


def test_an_alias_is_promoted_rolled_back_and_removed(context: Context) -> None:
    first, second = (add_model(context) for _ in range(2))
    assert "Create one with dspt models promote" in dspt("models", "aliases").stdout
    assert f"production now points to {first}." in dspt("models", "promote", first).stdout
    assert document("models", "promote", second)["aliases"] == ["production"]
    dspt("models", "promote", second, "--alias", "staging")
    assert {a["name"]: a["model_id"] for a in document("models", "aliases")} == {
        "production": second,
        "staging": second,
    }
    assert f"production points to {first} again." in dspt("models", "rollback").stdout
    refused = dspt("models", "rollback", "production", ends=1)
    assert "has no previous model" in refused.stderr
    moves = document("models", "aliases", "production")["history"]
    assert [move["model_id"] for move in moves] == [first, second, first]
    shown = dspt("models", "aliases", "production", "--limit", "2").stdout
    assert "Moves of production; older ones are not shown" in shown
    assert second in shown
    assert "staging" in dspt("models", "aliases").stdout
    assert "in use by the alias 'production'" in dspt("models", "delete", first, ends=1).stderr
    assert document("models", "unalias", "production") == {"alias": "production", "deleted": True}
    assert "Removed the alias staging" in dspt("models", "unalias", "staging").stdout
    assert "There is no alias" in dspt("models", "aliases", "staging", ends=1).stderr


def test_each_kind_of_failure_has_its_exit_code(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = dspt("jobs", "show", NO_JOB, "--json", ends=1)
    assert refused.stdout == ""
    assert "There is no job" in refused.stderr
    archive = tmp_path / "a.zip"
    archive.write_bytes(zip_of({"cat/1.png": b"not looked at", "dog/1.png": b"neither"}))
    said = dspt("jobs", "submit", archive, "--epochs", "0", "--lr", "11", ends=1).stderr
    assert said.startswith("error: --epochs is 0 but should be greater than or equal to 1; --lr is")
    assert len(said.splitlines()) == 1
    said = dspt("jobs", "submit", archive, "--backbone", "nosuch", ends=1).stderr
    assert said.startswith("error: unknown backbone nosuch")
    archive.write_bytes(zip_of({"cat/1.png": b"not looked at"}))
    said = dspt("jobs", "submit", archive, ends=2).stderr
    assert said.startswith(f"error: {archive}: has files of a single class")
    bad = dspt("models", "promote", MODEL, "--alias", "No Alias", ends=2).stderr
    assert "is not a valid alias" in bad
    dspt("jobs", "submit", archive, "--epochs", "many", ends=2)
    assert "nothing.zip" in dspt("jobs", "submit", tmp_path / "nothing.zip", ends=2).stderr
    assert "is not a URL" in dspt("jobs", "list", "--url", "nowhere", ends=2).stderr
    monkeypatch.setattr("dspt_client._io.time.sleep", lambda _: None)
    said = dspt("jobs", "list", "--url", "http://127.0.0.1:1", ends=3).stderr
    assert "http://127.0.0.1:1 cannot be reached" in said


def test_interrupted_watching_leaves_the_job_alone(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = bring_to(context, Status.QUEUED)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dspt_client._events.as_a", interrupted)
    monkeypatch.setattr("dspt_client._events.EventView.model_validate_json", interrupted)
    assert f"{job_id} continues" in dspt("jobs", "watch", job_id, ends=130).stderr
    monkeypatch.undo()
    with context.database.read() as session:
        job = repository.get(session, job_id)
        assert job is not None
        assert job.status == "queued"


def test_help_says_how_commands_end_and_where_they_go() -> None:
    for group in ("jobs", "models"):
        said = " ".join(dspt(group, "--help").stdout.split())
        assert "Exit codes: 0 success; 1 the job failed or the service rejected the request" in said
        assert "DSPT_API_KEY" in said
