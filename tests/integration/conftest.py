"""Real services for integration tests."""

from __future__ import annotations

import io
import logging
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
import structlog
from fastapi import FastAPI
from fastapi.testclient import TestClient
from limits import RateLimitItemPerMinute
from sqlalchemy import Engine, create_engine

from app.installation.service import ensure
from app.kit.context import Context
from app.kit.http.rules import Scope
from app.kit.schema import migrate
from app.kit.settings import Settings
from app.main import create_app
from tests.integration.databases import on_both
from tests.s3_server import CREDENTIALS, S3Server, s3_server
from tests.services import (
    PostgresCopies,
    RedisServer,
    postgres_database,
    postgres_server,
    redis_server,
)
from tests.warm import Warm, warm

if TYPE_CHECKING:
    from dspt.backbones.base import Backbone
    from tests.integration.access import Headers, Made, Service
    from tests.integration.stack import Stack

MigratedDatabase = Callable[[Path], AbstractContextManager[str]]


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in Settings.model_fields:
            patch.delenv(f"DSPT_{name.upper()}", raising=False)
        yield


@pytest.fixture(autouse=True, scope="session")
def _torch_answers() -> Iterator[None]:
    """Image towers are not compiled for a few predictions: that takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSPT_PREDICT_ENGINE", "torch")
        # One thread, which a test can keep busy.
        patch.setenv("DSPT_PREDICT_TOWER_THREADS", "1")
        yield


@pytest.fixture(autouse=True, scope="session")
def _towers_are_shared() -> Iterator[None]:
    """The applications of this process share the built-in backbone.

    None of them collects the garbage of the whole process after it has a tower: a pytest process
    has a million objects, which takes half a second.
    """
    from dspt import backbones

    read, builtin = backbones.load_backbone, cache(partial(backbones.load_backbone, "builtin"))

    @wraps(read)
    def load_backbone(name: str, **device: Any) -> Backbone:
        return builtin(**device) if name == "builtin" else read(name, **device)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "load_backbone", load_backbone)
        patch.setattr("app.predictions.backbones.gc", Mock())
        yield


class _Compiled(dict[Any, Any]):
    """Compiled statements of all databases of a kind; SQLAlchemy's keys have the one dialect."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get((key[0].name, *key[1:]), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        super().__setitem__((key[0].name, *key[1:]), compiled)


@pytest.fixture(autouse=True, scope="session")
def _statements_are_compiled_once() -> Iterator[None]:
    """The many databases of this process compile a statement once, as the one of a service does."""
    compiled = _Compiled()

    def create(*arguments: Any, **options: Any) -> Engine:
        engine = create_engine(*arguments, **options)
        engine.update_execution_options(compiled_cache=compiled)
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.kit.db.create_engine", create)
        yield


@pytest.fixture(autouse=True, scope="session")
def _quiet() -> None:
    """No line for each request: a failing test is easier to read.

    Tracebacks are plain: the rich ones, with all local variables, take seconds each.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def s3_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment, for storages that this process opens."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def s3(_s3_server: S3Server, s3_credentials: None) -> S3Server:
    """A real S3 server, whose bucket other tests use too, under other prefixes."""
    return _s3_server


@pytest.fixture(scope="session")
def warm_start() -> Iterator[Warm]:
    """To start workers from, which then need no seconds to import torch."""
    with warm() as opened:
        yield opened


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test runs once on each of its databases."""
    own = any(
        "migrated" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")
    )
    if "migrated" in metafunc.fixturenames and not own:
        kinds = (metafunc.definition.get_closest_marker("databases") or on_both).args
        metafunc.parametrize("migrated", kinds, indirect=True, scope="module")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh database of each kind with nothing in it."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    with postgres_database(request.getfixturevalue("postgres_url")) as url:
        yield url


@pytest.fixture(scope="module")
def migrated(request: pytest.FixtureRequest) -> MigratedDatabase:
    """Makes fresh databases of each kind, migrated; a file lies in the given folder."""
    if request.param == "postgresql":
        copies: PostgresCopies = request.getfixturevalue("postgres_copies")
        return lambda _folder: copies.lend()
    template_file = request.getfixturevalue("sqlite_template")

    @contextmanager
    def sqlite_database(folder: Path) -> Iterator[str]:
        folder.mkdir()
        shutil.copy(template_file, folder / "dspt.db")
        yield f"sqlite:///{folder / 'dspt.db'}"

    return sqlite_database


@pytest.fixture
def database_url(migrated: MigratedDatabase, tmp_path: Path) -> Iterator[str]:
    """A fresh database of each kind, migrated."""
    with migrated(tmp_path / "data") as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy: quicker than to migrate for each test."""
    place = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{place}")
    return place


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> Iterator[str]:
    """A migrated database to copy."""
    with postgres_database(postgres_url) as url:
        migrate(url)
        yield url


@pytest.fixture(scope="session")
def postgres_copies(postgres_template: str) -> Iterator[PostgresCopies]:
    copies = PostgresCopies(postgres_template)
    yield copies
    copies.close()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return settings_for(database_url, tmp_path / "data")


@pytest.fixture
def context(settings: Settings) -> Iterator[Context]:
    """What an endpoint or a worker needs, on a fresh database."""
    opened = Context.open(settings)
    ensure(opened)
    yield opened
    opened.close()


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """The API on a fresh database; no broker, so jobs stay queued."""
    with local_client(create_app(settings)) as opened:
        yield opened


@pytest.fixture(scope="module")
def unchanged(
    migrated: MigratedDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    """The same for all tests of a module: for requests that change nothing."""
    folder = tmp_path_factory.mktemp("unchanged") / "data"
    with migrated(folder) as url, local_client(create_app(settings_for(url, folder))) as opened:
        yield opened


@pytest.fixture
def live(client: TestClient) -> Context:
    return context_of(client)


@pytest.fixture
def stack(settings: Settings, tmp_path: Path, warm_start: Warm) -> Iterator[Stack]:
    """The API on a fresh database and a Redis of its own; workers are the test's to start."""
    from tests.integration.stack import Stack  # it imports from here

    with redis_server() as broker:
        # Quick to notice a dead worker, so that the tests are quick too.
        update = {
            "broker_url": broker.url,
            "heartbeat_seconds": 1.2,
            "housekeeping_seconds": 0.2,
            "max_attempts": 2,
        }
        values = settings.model_dump(exclude_unset=True) | update
        stack = Stack(Settings(**values), tmp_path / "worker.log", warm_start)
        with stack.client:
            yield stack


@pytest.fixture(scope="module")
def service(
    migrated: MigratedDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """An API with keys, the same for all tests of a module."""
    from tests.integration.access import served  # it imports from here

    folder = tmp_path_factory.mktemp("access")
    many = RateLimitItemPerMinute(100_000, namespace="failures")  # every route is tried twice
    with (
        pytest.MonkeyPatch.context() as patch,
        migrated(folder / "data") as url,
        served(Settings(data_dir=folder / "data", database_url=url)) as opened,
    ):
        patch.setattr("app.access.rate_limits._FAILURES", many)
        yield opened


@pytest.fixture(scope="module")
def ann(service: Service) -> Headers:
    return service.key("ann")


@pytest.fixture(scope="module")
def bob(service: Service) -> Headers:
    return service.key("bob")


@pytest.fixture(scope="module")
def admin(service: Service) -> Headers:
    return service.key("root", Scope.ADMIN)


@pytest.fixture(scope="module")
def anns(service: Service, ann: Headers) -> Made:
    return service.made("ann", ann)


def settings_for(database_url: str, data_dir: Path) -> Settings:
    return Settings(
        data_dir=data_dir,
        database_url=database_url,
        max_upload_bytes=1_000_000,
        housekeeping_seconds=5,  # a round takes CPU time even if there is nothing to do
        event_poll_seconds=0.02,
        database_timeout_seconds=120,  # a busy machine may take longer than callers would wait
        no_auth=True,  # requests of an in-process client have no socket, so none that tells a user
    )


def context_of(client: TestClient) -> Context:
    """The context of the API that `client` talks to."""
    context: Context = client.app.state.context  # type: ignore[attr-defined]
    return context


def local_client(app: FastAPI, **options: Any) -> TestClient:
    """A client on the machine that `app` runs on, as far as that can tell: it needs no key."""
    return TestClient(
        app,
        base_url="http://127.0.0.1",
        client=("127.0.0.1", 50000),
        raise_server_exceptions=False,
        **options,
    )


def zip_of(files: dict[str, bytes]) -> bytes:
    """A zip with these files; the same files make the same zip, whenever it is made."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def post_job(client: TestClient, **fields: Any) -> dict[str, Any]:
    """Submit a job on a zip that is not read; returns the job."""
    archive = zip_of({"cat/1.png": b"not looked at"})
    response = client.post("/jobs", files={"dataset": ("pets.zip", archive)}, data=fields)
    assert response.status_code == 202, response.text
    job: dict[str, Any] = response.json()
    return job
