"""A commit whose answer is lost may have taken place: the files that its rows need stay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.feedback import capture
from app.feedback.capture import Captured
from app.installation.references import referenced_keys
from app.kit.context import Context
from app.models.resolve import ResolvedModel
from tests.integration.conftest import zip_of
from tests.integration.databases import sqlite_first
from tests.integration.jobs import files_in, make_model

pytestmark = sqlite_first


@pytest.fixture
def model(live: Context, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model; from now on the answer to each commit is lost."""
    model = make_model("")
    model.job_id = None
    write = live.database.write
    with write() as session:
        session.add(model)

    @contextmanager
    def unanswered() -> Iterator[Session]:
        with write() as session:
            yield session
        raise OperationalError("COMMIT", {}, ConnectionError("the connection was lost"))

    monkeypatch.setattr(live.database, "write", unanswered)
    return model.id


@contextmanager
def files_of_new_rows_are_kept(context: Context) -> Iterator[None]:
    def needed() -> set[str]:
        with context.database.read() as session:
            return referenced_keys(session)

    before = needed()
    yield
    new = needed() - before
    assert new
    assert new <= files_in(context)


@pytest.mark.parametrize(
    ("path", "field"), [("/datasets", "dataset"), ("/jobs", "dataset"), ("/batches", "archive")]
)
def test_an_upload(client: TestClient, live: Context, model: str, path: str, field: str) -> None:
    data = {"model": model} if path == "/batches" else {}
    files = {field: ("a.zip", zip_of({"cat/1.png": b"x"}))}
    with files_of_new_rows_are_kept(live):
        assert client.post(path, data=data, files=files).status_code == 503


def test_a_captured_photo(live: Context, model: str) -> None:
    photo = Captured("a.png", b"x", "cat", 0.5, 0.1, np.ones(2, np.float16))
    with files_of_new_rows_are_kept(live), pytest.raises(OperationalError):
        capture.store(live, ResolvedModel(model, "local", "", None), [photo])
