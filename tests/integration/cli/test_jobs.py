"""`dspt jobs` against the real API: what it prints, and what it does."""

from __future__ import annotations

from pathlib import Path

from app.kit.context import Context
from tests.integration.cli.calls import document, done, dspt, named_job


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
