"""What one owner may have waiting and stored; exact however many ask at once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dspt_client.schemas.status import Status
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.kit.context import Context
from app.kit.settings import Settings
from app.main import create_app
from app.tables.models import Model
from tests.integration.access import Service, served
from tests.integration.conftest import local_client, zip_of
from tests.integration.databases import on_both, sqlite_first
from tests.integration.jobs import bring_to, claim, files_in, problem, statuses

pytestmark = sqlite_first


MANY = 16


def at_once(service: Service, owners: list[str], contents: list[bytes]) -> list[Any]:
    """Submit all of them at the same time."""
    headers = {owner: service.key(owner) for owner in owners}
    with ThreadPoolExecutor(MANY) as pool:
        return list(
            pool.map(
                lambda i: service.post(headers[owners[i % len(owners)]], contents[i]),
                range(len(contents)),
            )
        )


def different(count: int) -> list[bytes]:
    """What zips of the same size are made of."""
    return [b"%04d" % number for number in range(count)]


def test_unfinished_jobs_of_an_owner(settings: Settings) -> None:
    settings = settings.model_copy(update={"max_queued_jobs_per_owner": 5})
    with served(settings) as service:
        answers = at_once(service, ["ann"], different(MANY))
        assert Counter(a.status_code for a in answers) == {202: 5, 429: MANY - 5}
        for refused in (a for a in answers if a.status_code == 429):
            found = problem(refused, 429, "quota_jobs")
            assert "DSPT_MAX_QUEUED_JOBS_PER_OWNER" in found["detail"]
            assert int(refused.headers["retry-after"]) > 0
        # What was refused is not stored, and others are not held up.
        assert len(files_in(service.context)) == 5
        assert service.post(service.key("bob")).status_code == 202
        # One that has begun still counts; one that ends makes room for one.
        ann = service.key("ann")
        begun, job = [a.json() for a in answers if a.status_code == 202][:2]
        claim(service.context, begun["id"])
        problem(service.post(ann), 429, "quota_jobs")
        service.client.post(job["links"]["cancel"], headers=ann)
        assert service.post(ann).status_code == 202
        problem(service.client.post(f"/jobs/{job['id']}/retry", headers=ann), 429, "quota_jobs")
        assert statuses(service.context, job["id"]) == ["queued", "cancelled"]


@on_both
def test_the_queue_of_all(settings: Settings) -> None:
    settings = settings.model_copy(update={"max_queued_jobs": 4})
    with served(settings) as service:
        answers = at_once(service, ["ann", "bob", "cy"], different(MANY))
        assert Counter(a.status_code for a in answers) == {202: 4, 503: MANY - 4}
        refused = next(a for a in answers if a.status_code == 503)
        problem(refused, 503, "queue_full")
        assert int(refused.headers["retry-after"]) > 0
        assert len(files_in(service.context)) == 4


def test_bytes_stored(settings: Settings) -> None:
    size = len(zip_of({"cat/1.png": b"0000"}))
    settings = settings.model_copy(update={"max_stored_bytes_per_owner": 3 * size})
    with served(settings) as service:
        answers = at_once(service, ["ann"], different(MANY))
        assert Counter(a.status_code for a in answers) == {202: 3, 429: MANY - 3}
        refused = next(a for a in answers if a.status_code == 429)
        assert "DSPT_MAX_STORED_BYTES_PER_OWNER" in problem(refused, 429, "quota_bytes")["detail"]
        assert int(refused.headers["retry-after"]) > 0
        assert len(files_in(service.context)) == 3
        ann = service.key("ann")
        kept = next(a for a in answers if a.status_code == 202).json()
        # Another job on what is stored takes no more.
        again = {"dataset_id": kept["dataset"]["id"]}
        assert service.client.post("/jobs", data=again, headers=ann).status_code == 202
        assert service.post(service.key("bob"), b"0000").status_code == 202


def test_models_count(client: TestClient, live: Context) -> None:
    bring_to(live, Status.SUCCEEDED)  # a data set of 1 byte and a model of 3
    body = zip_of({"cat/1.png": b"x"})
    limit = len(body) + 4
    for room, status in ((limit - 1, 429), (limit, 202)):
        settings = live.settings.model_copy(update={"max_stored_bytes_per_owner": room})
        with local_client(create_app(settings)) as limited:
            response = limited.post("/jobs", files={"dataset": ("a.zip", body)})
            assert response.status_code == status, response.text


def test_the_zip_of_a_cancelled_batch_counts_until_the_batch_is_deleted(
    client: TestClient, live: Context
) -> None:
    bring_to(live, Status.SUCCEEDED)
    with live.database.read() as session:
        model = session.scalars(select(Model.id)).one()
    zip_ = {"archive": ("a.zip", zip_of({"1.png": b"x"}))}
    batch = client.post("/batches", data={"model": model}, files=zip_).json()["id"]
    assert client.post(f"/batches/{batch}/cancel").json()["status"] == "cancelled"
    body = {"dataset": ("b.zip", zip_of({"cat/1.png": b"x"}))}
    room = len(body["dataset"][1]) + 4  # a data set of 1 byte and a model of 3
    settings = live.settings.model_copy(update={"max_stored_bytes_per_owner": room})
    with local_client(create_app(settings)) as limited:
        refused = problem(limited.post("/jobs", files=body), 429, "quota_bytes")
        assert "batches that failed or were cancelled" in refused["detail"]
        assert client.delete(f"/batches/{batch}").status_code == 204
        assert limited.post("/jobs", files=body).status_code == 202


def test_an_upload_that_would_be_refused_is_refused_unread(settings: Settings) -> None:
    settings = settings.model_copy(
        update={"max_stored_bytes_per_owner": 500_000, "max_queued_jobs_per_owner": 1}
    )
    with served(settings) as service:
        ann = service.key("ann")
        # It is no form: an API that had read it would have responded 422.
        form = ann | {"Content-Type": "multipart/form-data; boundary=x", "Idempotency-Key": "1"}
        refused = service.client.post("/jobs", content=b"x" * 700_000, headers=form)
        problem(refused, 429, "quota_bytes")
        assert refused.headers["connection"] == "close"
        first = service.post(ann | {"Idempotency-Key": "2"})
        assert first.status_code == 202
        # The job is there already: its answer is no new job.
        again = service.post(ann | {"Idempotency-Key": "2"})
        assert again.json()["id"] == first.json()["id"]
        form["Idempotency-Key"] = "3"
        problem(service.client.post("/jobs", content=b"x", headers=form), 429, "quota_jobs")
