"""Both clients against the real API over HTTP; a test's own hands do the worker's steps."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from dspt_client import AsyncClient, Client, Conflict, JobCancelled, NotFound, Unauthorized
from dspt_client.schemas.status import Status

from app.access import keys
from app.jobs import repository
from app.kit.context import Context
from app.kit.http.rules import Scope
from app.kit.settings import Settings
from tests.integration.conftest import zip_of
from tests.integration.jobs import bring_to, claim, make_model
from tests.integration.own_api import running
from tests.services import free_port


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Context]]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("client"),
        housekeeping_seconds=0.05,
        event_poll_seconds=0.02,
    )
    with running(settings) as started:
        yield started


@pytest.fixture
def client(api: tuple[str, Context]) -> Iterator[Client]:
    with Client(api[0]) as opened:
        yield opened


@pytest.fixture
def context(api: tuple[str, Context]) -> Context:
    return api[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files that stand in for photos; no worker reads them."""
    for name in ("cat/1.png", "dog/1.png"):
        (tmp_path / "pets" / name).parent.mkdir(parents=True)
        (tmp_path / "pets" / name).write_bytes(tmp_path.name.encode())
    return tmp_path / "pets"


def test_a_job_from_a_folder_through_its_life(client: Client, folder: Path) -> None:
    job = client.jobs.create(folder, config={"epochs": 7}, class_names={"cat": "tabby cat"})
    assert job.view.dataset.filename == "pets.zip"
    assert job.view.config["epochs"] == 7
    assert job.view.class_names == {"cat": "tabby cat"}
    again = client.jobs.create(job.view.dataset.id, name="again")
    assert again.view.dataset.sha256 == job.view.dataset.sha256
    assert [found.id for found in client.jobs.list(status="queued")][:2] == [again.id, job.id]
    with pytest.raises(Conflict) as caught:
        client.jobs.delete(job.id)
    assert caught.value.code == "job_not_finished"
    assert client.jobs.cancel(job.id).status == "cancelled"
    assert job.status == "queued"  # as it was last seen
    with pytest.raises(JobCancelled):
        job.wait(timeout=10)
    assert [event.data["status"] for event in job.events()] == ["queued", "cancelled"]
    assert client.jobs.retry(job.id).status == "queued"
    with pytest.raises(Conflict):
        job.audit()
    client.jobs.cancel(job.id)
    client.jobs.delete(job.id)
    with pytest.raises(NotFound):
        job.refresh()


def test_an_upload_sent_twice_makes_one_job(
    client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first answer is lost on the way."""
    send, lost = client._connection.io.send, []

    async def send_and_lose(request):  # type: ignore[no-untyped-def]
        response = await send(request)
        if request.method == "POST" and not lost:
            lost.append(response)
            response.close()
            raise httpx.ReadError("lost")
        return response

    monkeypatch.setattr(client._connection.io, "send", send_and_lose)
    before = len(list(client.jobs.list()))
    job = client.jobs.create(folder)
    assert lost[0].status_code == 202
    assert len(list(client.jobs.list())) == before + 1
    assert client.jobs.get(job.id).view == job.view


def test_events_are_followed_while_they_happen(client: Client, context: Context) -> None:
    job_id = bring_to(context, Status.QUEUED)
    events = client.jobs.get(job_id).events()
    assert next(events).data["status"] == "queued"
    lease = claim(context, job_id)
    assert next(events).data["status"] == "validating"
    lease.start_running({"images": 2})
    lease.succeed(make_model(job_id), config={}, metrics={}, audit_key="audits/a.json")
    assert [event.data["status"] for event in events] == ["running", "succeeded"]
    (last,) = client.jobs.get(job_id).events(after=3)
    assert last.id == 4


def test_following_survives_a_restart_of_the_api(tmp_path: Path) -> None:
    settings, port = Settings(data_dir=tmp_path, event_poll_seconds=0.02), free_port()
    with Client(f"http://127.0.0.1:{port}") as client:
        with running(settings, port) as (_, context):
            job_id = bring_to(context, Status.RUNNING)
            events = client.jobs.get(job_id).events()
            seen = [next(events) for _ in range(3)]
        with running(settings, port) as (_, context):
            with context.database.write() as session:
                repository.move(session, job_id, Status.QUEUED)
                repository.move(session, job_id, Status.CANCELLED)
            seen += events
    assert [event.id for event in seen] == [1, 2, 3, 4, 5]


def test_models_are_listed_page_by_page_and_deleted(client: Client, context: Context) -> None:
    made = []
    for _ in range(51):  # one more than a page holds
        with context.database.write() as session:
            model = make_model("")
            model.job_id = None
            made.append(model.id)
            session.add(model)
    found = [model.id for model in client.models.list()]
    assert len(found) == len(set(found))
    assert set(made) <= set(found)
    client.models.delete(made[0])
    with pytest.raises(NotFound) as caught:
        client.models.get(made[0])
    assert caught.value.code == "model_not_found"


def test_the_same_awaited(api: tuple[str, Context], folder: Path) -> None:
    async def scene() -> None:
        async with AsyncClient(api[0]) as client:
            job = await client.jobs.create(folder, name="awaited")
            assert job.id in {found.id async for found in client.jobs.list()}
            following = asyncio.create_task(job.wait(timeout=20))
            await client.jobs.cancel(job.id)
            with pytest.raises(JobCancelled):
                await following
            assert [e.data["status"] async for e in job.events()] == ["queued", "cancelled"]
            # Many at once on one client, which is what it is there for.
            looks = [client.jobs.get(job.id) for _ in range(20)]
            assert {found.status for found in await asyncio.gather(*looks)} == {"cancelled"}
            with pytest.raises(NotFound):
                await client.predict("mdl_" + "0" * 26, [b"no image"])

    asyncio.run(scene())


def test_a_key_opens_the_door(tmp_path: Path, folder: Path) -> None:
    with running(Settings(data_dir=tmp_path / "data")) as (address, context):
        with context.database.write() as session:
            _, token = keys.create(session, "ann", "ann", [Scope.READ, Scope.SUBMIT])
        with Client(address) as client, pytest.raises(Unauthorized) as caught:
            client.jobs.create(folder)
        assert caught.value.code == "key_missing"
        # The API closes the connection in the middle of a refused upload.
        large = tmp_path / "large.zip"
        large.write_bytes(zip_of({"cat/1.png": bytes(30_000_000), "dog/1.png": b"x"}))

        async def turned_away() -> None:
            async with AsyncClient(address) as awaited:
                with pytest.raises(Unauthorized):
                    await awaited.jobs.create(large)

        asyncio.run(turned_away())
        with Client(address, token) as client:
            assert client.jobs.create(folder).status == "queued"


def test_a_zip_is_sent_as_it_is(client: Client, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(
        zip_of({"cat/1.png": b"not looked at", "dog/1.png": b"neither"})
    )
    assert client.jobs.create(str(tmp_path / "a.zip")).view.dataset.filename == "a.zip"


def test_the_client_is_light() -> None:
    """It is for scripts: neither torch nor the server's database and queue are loaded."""
    heavy = "{'torch', 'celery', 'sqlalchemy', 'fastapi', 'pandas'}"
    code = f"import dspt_client, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
