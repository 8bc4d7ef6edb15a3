"""Services of other versions: answers as 0.1.0 gave them, and answers that say more than we know.

`recorded/0.1.json` is never regenerated: it has the answers of a service one minor version older.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from dspt_client import Client, JobFailed, NotFound
from dspt_client.schemas.status import Status

from tests.unit.client.server import JOB_ID, client_of, event, job, problem, stream

RECORDED = json.loads((Path(__file__).parent / "recorded" / "0.1.json").read_text())
MODEL_ID = "mdl_" + "0" * 26


def answer(name: str) -> httpx.Response:
    recorded = RECORDED[name]
    return httpx.Response(recorded.get("status", 200), json=recorded["answer"])


CALLS: dict[str, Callable[[Client], Any]] = {
    "job": lambda client: client.jobs.get(JOB_ID).view,
    "jobs": lambda client: list(client.jobs.list()),
    "audit": lambda client: client.jobs.audit(JOB_ID),
    "model": lambda client: client.models.get(MODEL_ID),
    "models": lambda client: list(client.models.list()),
    "promoted": lambda client: client.aliases.promote(MODEL_ID),
    "aliases": lambda client: list(client.aliases.list()),
    "alias": lambda client: client.aliases.get("production"),
    "rolled_back": lambda client: client.aliases.rollback(),
    "predictions": lambda client: client.predict("production", [b"1", b"2"]),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_answer_of_the_version_before_is_understood(name: str) -> None:
    client, _ = client_of(answer(name))
    said, read = RECORDED[name]["answer"], CALLS[name](client)
    if isinstance(read, list):
        assert len(read) == len(said["data"])
    else:  # nothing that was said is lost
        assert said.items() <= json.loads(read.model_dump_json(exclude_unset=True)).items()


def test_its_events_and_failures_too() -> None:
    events = RECORDED["events"]["answer"]["data"]
    client, _ = client_of(answer("job"), stream(*events), answer("job"))
    assert len(list(client.jobs.get(JOB_ID).events())) == len(events)
    client, _ = client_of(answer("failed_job"))
    with pytest.raises(JobFailed) as caught:
        client.jobs.get(JOB_ID).wait()
    assert [found.where for found in caught.value.problems] == ["a", "b"]
    client, _ = client_of(answer("problem"))
    with pytest.raises(NotFound) as refused:
        client.jobs.get(JOB_ID)
    assert (refused.value.code, "older" in refused.value.detail) == ("job_not_found", False)


def test_a_call_that_it_does_not_know_is_told_as_that() -> None:
    client, _ = client_of(answer("nothing_there"), problem(405, "method_not_allowed"))
    for _ in range(2):
        with pytest.raises(Exception, match="is the service an older one"):
            client.aliases.rollback()


def test_what_only_a_newer_service_says_is_passed_on() -> None:
    client, _ = client_of(httpx.Response(200, json=job("polishing")))
    found = client.jobs.get(JOB_ID)
    assert found.status == "polishing"
    assert found.view.model_dump(mode="json")["status"] == "polishing"
    model = RECORDED["model"]["answer"] | {"served": "merged"}
    client, _ = client_of(httpx.Response(200, json=model))
    assert client.models.get(MODEL_ID).served == "merged"
    # A status of a kind that we do not know is not the end of the job.
    polishing = event(1, "status", status="polishing")
    events = stream(polishing, event(2, "sparkle"), event(3, "status", status="succeeded"))
    script = client_of(
        httpx.Response(200, json=job("queued")), events, answer("job"), answer("job")
    )
    waited = script[0].jobs.get(JOB_ID)
    waited.wait()
    assert waited.status is Status.SUCCEEDED


def test_a_value_that_no_version_can_mean_is_refused() -> None:
    client, _ = client_of(httpx.Response(200, json=job() | {"status": 7}))
    with pytest.raises(Exception, match="is not a JobView"):
        client.jobs.get(JOB_ID)
