"""What commands print, where, and how they end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from dspt_client.schemas.status import Status

from app.jobs import repository
from app.kit.context import Context
from dspt.cli import terminal
from tests.integration.cli.calls import MODEL, NO_JOB, document, done, dspt, named_job
from tests.integration.conftest import zip_of
from tests.integration.jobs import ERROR, bring_to


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
