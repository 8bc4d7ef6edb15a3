"""What answers become: objects of the service's schemas, and exceptions."""

from __future__ import annotations

import sys

import httpx
import pytest
from dspt_client import (
    Client,
    Forbidden,
    PayloadTooLarge,
    Refused,
    ServerError,
    Unauthorized,
    UnexpectedAnswer,
    Unprocessable,
)

from tests.unit.client.server import JOB_ID, Script, client_of, job, problem

AUDIT = {"job_id": JOB_ID, "can_tell": True, "why": "", "suspects": 1, "entries": []}
SCORES = {"score": 0.9, "p_tuned": 0.1, "p_zero_shot": 0.1, "suppression": 0.0}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, Unauthorized),
        (403, Forbidden),
        (413, PayloadTooLarge),
        (422, Unprocessable),
        (418, Refused),
        (507, ServerError),
    ],
)
def test_a_problem_document_becomes_an_exception(status: int, error: type[Refused]) -> None:
    items = [{"param": "epochs", "code": "unknown_setting", "message": "no"}]
    body = {"status": status, "code": "x", "detail": "fix it like this", "errors": items}
    client, _ = client_of(httpx.Response(status, json=body))
    with pytest.raises(Refused) as caught:
        client.jobs.get(JOB_ID)
    assert type(caught.value) is error
    assert (caught.value.status, caught.value.code) == (status, "x")
    assert caught.value.detail == "fix it like this"
    assert [(e.param, e.code, e.message) for e in caught.value.errors] == [
        ("epochs", "unknown_setting", "no")
    ]


def test_a_proxys_page_is_told_in_short() -> None:
    client, _ = client_of(httpx.Response(501, text="<h1>Not\n here</h1>" * 99))
    with pytest.raises(ServerError) as caught:
        client.jobs.get(JOB_ID)
    assert caught.value.code == "http_501"
    assert len(caught.value.detail) == 200


def test_an_answer_of_something_else_is_named_as_such() -> None:
    client, _ = client_of(httpx.Response(200, text="<h1>Welcome</h1>"))
    with pytest.raises(UnexpectedAnswer, match="is this a DSPT service"):
        client.jobs.get(JOB_ID)
    client, _ = client_of(httpx.Response(307, headers={"Location": "https://there/jobs"}))
    with pytest.raises(UnexpectedAnswer, match="redirects to https://there/jobs"):
        client.jobs.get(JOB_ID)


def test_older_and_newer_services_are_understood() -> None:
    """`job()` lacks all that has a default; more than is known comes from a newer one."""
    newer = job(shiny={"new": 1}, progress={"stage": "polishing", "speed": 3})
    client, _ = client_of(httpx.Response(200, json=job()), httpx.Response(200, json=newer))
    older = client.jobs.get(JOB_ID)
    assert older.view.dataset.corrections is None
    assert client.jobs.get(JOB_ID).view.progress.stage == "polishing"


def test_lists_are_read_page_by_page() -> None:
    pages = [
        {"data": [job()], "next": "job_1"},
        {"data": [job(name="b")], "has_more": False, "next": None},
    ]
    client, script = client_of(*(httpx.Response(200, json=page) for page in pages))
    found = client.jobs.list(status="running")
    assert script.requests == []
    assert [one.view.name for one in found] == ["photos", "b"]
    assert [dict(r.url.params) for r in script.requests] == [
        {"limit": "50", "status": "running"},
        {"limit": "50", "status": "running", "after": "job_1"},
    ]


def test_an_id_is_one_part_of_the_path() -> None:
    client, script = client_of(problem(404, "job_not_found"))
    with pytest.raises(Refused):
        client.jobs.get("../models?x")
    assert script.requests[0].url.raw_path == b"/jobs/..%2Fmodels%3Fx"


def test_the_audit_as_a_table() -> None:
    entry = {"file": "=a/1.png", "given": "a", "suggested": "b", "suspect": True, **SCORES}
    second = entry | {"file": "b/1.png", "suspect": False}
    client, _ = client_of(httpx.Response(200, json=AUDIT | {"entries": [entry, second]}))
    audit = client.jobs.audit(JOB_ID)
    assert len(audit) == 2
    assert [found.file for found in audit.to_check] == ["=a/1.png"]
    table = audit.to_pandas()
    assert list(table.columns[:3]) == ["file", "given", "suggested"]
    assert list(table["suspect"]) == [True, False]


def test_all_pages_of_an_audit_are_fetched() -> None:
    entries = [
        {"file": f"{n}.png", "given": "a", "suggested": "b", "suspect": n < 2, **SCORES}
        for n in range(4)
    ]
    first = AUDIT | {"entries": entries[:3], "has_more": True, "next": "77"}
    client, script = client_of(
        httpx.Response(200, json=first), httpx.Response(200, json=AUDIT | {"entries": entries[3:]})
    )
    audit = client.jobs.audit(JOB_ID, suspect=True)
    assert [dict(request.url.params) for request in script.requests] == [
        {"limit": "5000", "suspect": "true"},
        {"limit": "5000", "suspect": "true", "after": "77"},
    ]
    assert [entry.file for entry in audit.entries] == ["0.png", "1.png"]  # an older service
    assert (audit.has_more, audit.next) == (False, None)


def test_without_pandas_it_is_said_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = client_of(httpx.Response(200, json=AUDIT))
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        client.jobs.audit(JOB_ID).to_pandas()


def test_address_and_key_come_from_arguments_or_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def asked(url: str | None = None, key: str | None = None) -> tuple[str, str | None]:
        script = Script(httpx.Response(200, json=job()))
        with Client(url, key, transport=script) as client:
            client.jobs.get("j")
        (request,) = script.requests
        return str(request.url), request.headers.get("Authorization")

    assert asked() == ("http://127.0.0.1:8000/jobs/j", None)
    monkeypatch.setenv("DSPT_URL", "https://photos.example/dspt/")
    monkeypatch.setenv("DSPT_API_KEY", "secret")
    assert asked() == ("https://photos.example/dspt/jobs/j", "Bearer secret")
    assert asked("http://here:1", "mine") == ("http://here:1/jobs/j", "Bearer mine")
    assert asked("http://here:1", " mine\n") == ("http://here:1/jobs/j", "Bearer mine")
    with pytest.raises(ValueError, match="not allowed"):
        Client(api_key="a\nb")
    for wrong in ("photos.example", "ftp://here", "http://", "http://[::"):
        with pytest.raises(ValueError, match="is not a URL"):
            Client(wrong)
