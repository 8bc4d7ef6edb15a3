"""Webhooks against a real receiver: signatures, retries, replays, and when they are disabled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dspt_client.schemas.status import Status
from dspt_client.schemas.webhooks import EventType
from fastapi.testclient import TestClient
from sqlalchemy import update
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from app.access.caller import LOCAL
from app.backup.create import back_up
from app.batches.lease import BatchLease
from app.gc.findings import Kind
from app.gc.service import collect
from app.jobs import repository
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.db import database_now
from app.kit.settings import Settings
from app.main import create_app
from app.tables.webhooks import WebhookDelivery
from app.webhooks import service
from app.webhooks.sender import KEEP, MOST_FAILURES, WebhookSender
from app.webhooks.service import MOST_WEBHOOKS
from tests.integration.access import served
from tests.integration.conftest import context_of, local_client, post_job
from tests.integration.jobs import ERROR, add_job, claim, problem
from tests.integration.test_batches import add_batch
from tests.receiver import Receiver, receiver
from tests.services import wait_until


@pytest.fixture(scope="module")
def _receiver() -> Iterator[Receiver]:
    with receiver() as opened:
        yield opened


@pytest.fixture
def hook(_receiver: Receiver) -> Receiver:
    """A receiver that has received nothing."""
    _receiver.requests.clear()
    _receiver.statuses.clear()
    return _receiver


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"housekeeping_seconds": 0.2})  # deliveries wait for a round


@pytest.fixture
def hooked(settings: Settings) -> Settings:
    update = {"private_hosts": ["127.0.0.1"], "webhook_retry_seconds": [0.01, 0.01]}
    return settings.model_copy(update=update)


@pytest.fixture
def api(hooked: Settings) -> Iterator[TestClient]:
    with local_client(create_app(hooked)) as opened:
        yield opened


def add(api: TestClient, hook: Receiver, **fields: Any) -> dict[str, Any]:
    response = api.post("/webhooks", json={"url": hook.url, **fields})
    assert response.status_code == 201, response.text
    added: dict[str, Any] = response.json()
    return added


def deliveries(api: TestClient, webhook: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(webhook["links"]["deliveries"]).json()["data"]
    return found


def wait_for(api: TestClient, webhook: dict[str, Any], status: str, count: int = 1) -> None:
    def reached() -> bool:
        return [each["status"] for each in deliveries(api, webhook)].count(status) >= count

    wait_until(reached, 60, f"{count} {status}", pause=0.02)


def cancel(api: TestClient, **fields: Any) -> str:
    job_id: str = post_job(api, **fields)["id"]
    assert api.post(f"/jobs/{job_id}/cancel").status_code == 202
    return job_id


def test_an_event_is_signed_repeated_until_it_is_accepted_and_replayed(
    api: TestClient, hook: Receiver
) -> None:
    hook.statuses[:] = [500, 302]
    webhook = add(api, hook)
    assert "secret" not in api.get(webhook["links"]["self"]).json()
    job_id = cancel(api, name="Zoë's")
    wait_for(api, webhook, "succeeded")
    first, *_, last = hook.requests
    assert len(hook.requests) == 3
    assert {request.path for request in hook.requests} == {"/hook"}  # no redirect was followed
    assert {request.headers["webhook-id"] for request in hook.requests} == {
        first.headers["webhook-id"]
    }
    event = Verifier(webhook["secret"]).verify(last.body, last.headers)
    assert (event["type"], event["data"]["id"]) == ("job.cancelled", job_id)
    assert (event["data"]["name"], event["data"]["error"]) == ("Zoë's", None)
    with pytest.raises(WebhookVerificationError):
        Verifier(webhook["secret"]).verify(last.body + b" ", last.headers)
    [delivery] = deliveries(api, webhook)
    assert delivery["id"] == last.headers["webhook-id"]
    assert (delivery["attempts"], delivery["response_status"]) == (3, 200)
    assert delivery["event"] == json.loads(last.body)
    replayed = api.post(delivery["links"]["replay"])
    assert (replayed.status_code, replayed.json()["status"]) == (202, "pending")
    wait_until(lambda: len(hook.requests) == 4, 60, "the replay")
    assert hook.requests[-1].headers["webhook-id"] == delivery["id"]
    assert api.delete(webhook["links"]["self"]).status_code == 204
    problem(api.get(webhook["links"]["deliveries"]), 404, "webhook_not_found")


def test_each_event_goes_once_to_those_who_want_it_whatever_the_number_of_processes(
    api: TestClient, hook: Receiver
) -> None:
    context = context_of(api)
    everything = add(api, hook)
    some = add(api, hook, events=["job.failed", "batch.cancelled"])
    senders = [WebhookSender(context) for _ in range(3)]
    for sender in senders:
        sender.loop.start()
    lease = claim(context, add_job(context))
    lease.fail(ERROR)
    claim(context, add_job(context, "another"))  # and its end is no event for these
    for _ in range(20):
        cancel(api)
    add_batch(context)
    batch = BatchLease.claim_next(context, "worker")
    assert batch is not None
    batch.succeed()
    wait_for(api, everything, "succeeded", 20)
    wait_for(api, some, "succeeded")
    for sender in senders:
        sender.loop.stop()
    sent = [request.headers["webhook-id"] for request in hook.requests]
    assert len(sent) == len(set(sent)) == 23
    types = [each["event"]["type"] for each in deliveries(api, everything)]
    assert sorted(set(types)) == ["batch.succeeded", "job.cancelled"]
    [failed] = deliveries(api, some)
    assert failed["event"]["data"]["error"] == ERROR
    assert failed["event"]["data"]["links"]["self"] == f"/jobs/{lease.id}"


def test_a_webhook_that_fails_is_disabled_and_can_be_enabled(
    api: TestClient, hook: Receiver
) -> None:
    webhook = add(api, hook)
    where = webhook["links"]["self"]
    hook.statuses[:] = [500] * 3 * MOST_FAILURES
    for _ in range(MOST_FAILURES):
        cancel(api)
    wait_until(lambda: api.get(where).json()["disabled_at"], 60, "the end of it")
    disabled = api.get(where).json()
    assert "5 deliveries in a row failed" in disabled["disabled_reason"]
    assert "answered 500" in disabled["disabled_reason"]
    cancel(api)
    found = deliveries(api, webhook)
    assert [each["status"] for each in found] == ["failed"] * MOST_FAILURES
    assert {each["attempts"] for each in found} == {3}
    problem(api.post(found[0]["links"]["replay"]), 409, "webhook_disabled")
    enabled = api.post(f"{where}/enable").json()
    assert (enabled["disabled_at"], enabled["failures"]) == (None, 0)
    assert api.post(found[0]["links"]["replay"]).status_code == 202
    wait_for(api, webhook, "succeeded")
    hook.statuses[:] = [410]
    cancel(api)
    wait_until(lambda: api.get(where).json()["disabled_at"], 60, "the end of it")
    assert "Gone" in api.get(where).json()["disabled_reason"]


def test_a_backup_and_the_database_do_not_have_the_secret(
    api: TestClient, hook: Receiver, tmp_path: Path
) -> None:
    context = context_of(api)
    webhook = add(api, hook)
    cancel(api)
    wait_for(api, webhook, "succeeded")
    with context.database.write() as session:  # the sender lets an ended delivery be
        long_ago = database_now(session) - KEEP - timedelta(days=1)
        session.execute(update(WebhookDelivery).values(created_at=long_ago))
    key = context.storage.read_bytes(storage_keys.SIGNING_KEY)
    back_up(context, tmp_path / "backup", copy_files=True, on_progress=lambda *_: None)
    files = [path for path in (tmp_path / "backup").rglob("*") if path.is_file()]
    contents = [path.read_bytes() for path in files]
    assert any(webhook["id"].encode() in content for content in contents)
    for secret in (key, webhook["secret"].removeprefix("whsec_").encode()):
        assert not any(secret in content for content in contents)
    found = [each for each in collect(context, grace_seconds=0) if each.kind is Kind.DELIVERIES]
    assert [(each.name, each.count) for each in found] == [(webhook["id"], 1)]
    assert deliveries(api, webhook) == []
    # In another storage there is another key, or none: nothing is signed wrongly.
    context.storage.delete(storage_keys.SIGNING_KEY)
    cancel(api)
    where = webhook["links"]["self"]
    wait_until(lambda: api.get(where).json()["disabled_at"], 60, "the end of it")
    assert "another signing key" in api.get(where).json()["disabled_reason"]
    problem(api.post(f"{where}/enable"), 409, "webhook_key_changed")
    assert len(hook.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://localhost/",
        "https://user:password@example.com/",
        "https://example.com/#part",
        "ftp://example.com/",
        "https://example.com:99999/",
        "https://exämple.com/",
        "example.com",
    ],
)
def test_urls_that_are_refused(unchanged: TestClient, url: str) -> None:
    refused = problem(unchanged.post("/webhooks", json={"url": url}), 422, "url_not_allowed")
    assert refused["errors"][0]["param"] == "url"


def test_other_requests_that_are_refused(client: TestClient) -> None:
    good: dict[str, Any] = {"url": "https://example.com/"}
    for wrong in ({"x": 1}, {"events": []}, {"events": ["job.started"]}):
        problem(client.post("/webhooks", json={**good, **wrong}), 422, "invalid_request")
    for _ in range(MOST_WEBHOOKS):
        last = client.post("/webhooks", json=good).json()
    assert last["events"] == sorted(EventType)
    problem(client.post("/webhooks", json=good), 429, "quota_webhooks")
    where = f"{last['links']['deliveries']}/msg_00000000000000000000000000/replay"
    problem(client.post(where), 404, "delivery_not_found")


def test_owners_receive_their_own_events_only(hooked: Settings, hook: Receiver) -> None:
    with served(hooked) as shared:
        ann, bob = shared.key("ann"), shared.key("bob")
        response = shared.client.post("/webhooks", json={"url": hook.url}, headers=ann)
        for headers in (bob, ann):
            job_id = shared.post(headers).json()["id"]
            shared.client.post(f"/jobs/{job_id}/cancel", headers=headers).raise_for_status()
        where = response.json()["links"]["deliveries"]
        [delivery] = shared.client.get(where, headers=ann).json()["data"]
        assert delivery["event"]["data"]["id"] == job_id
        assert shared.client.get("/webhooks", headers=bob).json()["data"] == []


def test_no_delivery_without_the_end_of_the_job(context: Context) -> None:
    """A transaction that is rolled back announces nothing."""
    webhook, _ = service.create(context, LOCAL, "https://host.invalid/", list(EventType))
    options: dict[str, Any] = {"status": None, "after": None, "limit": 10}
    job_id = add_job(context)
    with context.database.write() as session:
        assert repository.move(session, job_id, Status.CANCELLED)
        assert len(service.deliveries(session, webhook.id, **options)) == 1
        session.rollback()
    with context.database.read() as session:
        assert service.deliveries(session, webhook.id, **options) == []
