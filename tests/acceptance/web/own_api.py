"""An API without workers for the page: the test itself plays the worker, so jobs cost nothing."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import structlog

from app.installation.service import ensure
from app.jobs.lifecycle.lease import Lease
from app.kit.context import Context
from app.kit.schema import migrate
from app.kit.settings import Settings
from tests.acceptance.photos import photo
from tests.integration.jobs import claim, make_model
from tests.integration.own_api import running
from tests.services import free_port

Json = dict[str, Any]


class OwnApi:
    """The API in this process; `context` is the one of the worker that the test plays."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self.settings, self.context = settings, context
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.address, timeout=60)
        self._running = ExitStack()

    def start(self) -> None:
        self._running.enter_context(running(self.settings, self.port))

    def stop(self) -> None:
        self._running.close()

    def post(self, archive: bytes) -> str:
        """Submit a job; return its id."""
        response = self.client.post("/jobs", files={"dataset": ("pets.zip", archive)})
        assert response.status_code == 202, response.text
        job_id: str = response.json()["id"]
        return job_id

    def take(self, job_id: str, images: int, classes: list[str]) -> Lease:
        """Claim a job and check its data set, as a worker does."""
        lease = claim(self.context, job_id)
        lease.start_running({"sha256": "f" * 64, "images": images, "classes": classes})
        return lease

    def finished(
        self, given: Mapping[str, str], metrics: Json | None = None, config: Json | None = None
    ) -> str:
        """A job that has succeeded; every photo of `given` (file -> label) is suspect."""
        job_id = self.post(archive_of(given))
        lease = self.take(job_id, len(given), sorted(set(given.values())))
        succeed(lease, given, metrics, config)
        return job_id


def succeed(
    lease: Lease,
    given: Mapping[str, str],
    metrics: Json | None = None,
    config: Json | None = None,
) -> None:
    """Let a running job succeed, with an audit of these files."""
    model = make_model(lease.id)
    entry = {"score": 0.5, "p_tuned": 0.5, "p_zero_shot": 0.5, "suppression": 0.5, "suspect": True}
    entries = [
        {"file": file, "given": name, "suggested": "dog" if name == "cat" else "cat", **entry}
        for file, name in given.items()
    ]
    audit = {"can_tell": True, "why": "", "suspects": len(entries), "entries": entries}
    key = f"audits/{model.id}.json"
    lease.context.storage.put_bytes(key, json.dumps(audit).encode())
    lease.succeed(model, config=config or {}, metrics=metrics or {}, audit_key=key)


def archive_of(files: Mapping[str, str]) -> bytes:
    """A zip in which all these files are the same photo."""
    content, data = photo("lime", 0), io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path in files:
            archive.writestr(zipfile.ZipInfo(path), content)
    return data.getvalue()


def _quiet() -> None:
    """No line for each request: a failing test is easier to read."""
    level = structlog.make_filtering_bound_logger(logging.ERROR)
    structlog.configure(wrapper_class=level)


@contextmanager
def own_api(folder: Path) -> Iterator[OwnApi]:
    _quiet()
    url = f"sqlite:///{folder / 'dspt.db'}"
    migrate(url)
    settings = Settings(data_dir=folder / "data", database_url=url, no_auth=True)
    context = Context.open(settings)
    ensure(context)
    api = OwnApi(settings, context)
    api.start()
    try:
        yield api
    finally:
        api.stop()
        api.client.close()
        context.close()
