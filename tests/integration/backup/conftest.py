"""An installation to back up, and an empty one to restore into."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from app.access import keys
from app.jobs import repository
from app.kit.context import Context
from app.kit.http.rules import Scope
from app.kit.ids import new_id
from app.tables.batches import Batch
from app.tables.captures import CapturedPrediction
from app.tables.datasets import Dataset
from app.tables.models import Model
from tests.integration.backup.calls import ALL_STATES, store_files
from tests.integration.conftest import settings_for
from tests.integration.jobs import bring_to


@pytest.fixture
def filled(context: Context) -> Context:
    """Jobs in every state, with files, events, corrections and a key."""
    for status in ALL_STATES:
        job_id = bring_to(context, status)
        with context.database.write() as session:
            repository.add_event(session, job_id, "metrics", {"loss": 0.1, "ä": [None, 1e-300]})
    with context.database.write() as session:
        keys.create(session, "ann", "ann", [Scope.READ])
        parent = session.scalars(select(Dataset).order_by(Dataset.id.desc())).first()
        assert parent is not None
        session.add(
            Dataset(
                id="ds_" + "0" * 26,  # before its parent by id, as the clocks of machines differ
                owner="local",
                identity="corrections",
                sha256="",
                size_bytes=0,
                filename="a.zip",
                created_at=datetime.now(UTC),
                parent_id=parent.id,
                relabelled=1,
                dropped=0,
            )
        )
        session.add(
            Dataset(
                id="ds_" + "0" * 25 + "1",
                owner="local",
                identity="photos added to the corrections",
                sha256="",
                size_bytes=0,
                filename="more.zip",
                created_at=datetime.now(UTC),
                base_id="ds_" + "0" * 26,
                root_id=parent.id,
                version=3,
            )
        )
        now = datetime.now(UTC)
        session.add(
            Batch(
                id=new_id("bat"),
                owner="local",
                name="a",
                status="queued",
                created_at=now,
                queued_at=now,
                model_id=new_id("mdl"),
                filename="a.zip",
                size_bytes=7,
                options={},
                request_sha256="",
            )
        )
        model = session.scalars(select(Model)).first()
        assert model is not None
        session.add(
            CapturedPrediction(
                id=new_id("prd"),
                owner="local",
                model_id=model.id,
                created_at=now,
                file="a.png",
                predicted="cat",
                score=0.5,
                margin=0.1,
                features="AAA=",
                size_bytes=7,
            )
        )
    store_files(context)
    return context


@pytest.fixture
def target(empty_database_url: str, tmp_path: Path) -> Iterator[Context]:
    """An empty database and an empty storage."""
    opened = Context.open(settings_for(empty_database_url, tmp_path / "target"))
    yield opened
    opened.close()
