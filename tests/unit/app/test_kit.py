"""Ids, settings, text and URLs."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.kit.broker import BrokerNotSetError, celery_app
from app.kit.control_characters import cleaned, is_clean
from app.kit.db import normalise_url
from app.kit.ids import is_id, new_id
from app.kit.settings import Settings


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DSPT_{name.upper()}", raising=False)


def test_ids_are_unique_and_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for milliseconds in range(1, 2000, 7):
        monkeypatch.setattr("time.time_ns", lambda ms=milliseconds: ms * 1_000_000)
        ids.append(new_id("job"))
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_the_form_of_an_id() -> None:
    assert is_id(new_id("job"))
    for text in ("", "job_", "job_1", new_id("job") + "\n", new_id("job").upper(), "../x"):
        assert not is_id(text)


def test_all_paths_are_below_the_data_directory(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert settings.database_url == f"sqlite:///{tmp_path}/dspt.db"
    assert settings.storage_url == f"file://{tmp_path}/storage"
    assert settings.feature_dir == tmp_path / "features"
    assert settings.broker_url == ""


def test_settings_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DSPT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DSPT_DATABASE_URL", "postgresql://db/dspt")
    monkeypatch.setenv("DSPT_STORAGE_URL", "")  # as a compose file passes an unset variable on
    monkeypatch.setenv("DSPT_PORT", "")
    settings = Settings()
    assert settings.database_url == "postgresql://db/dspt"
    assert settings.storage_url == f"file://{tmp_path}/storage"
    assert settings.port == 8000


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p%40@h:5/d", "postgresql+psycopg://u:p%40@h:5/d"),
        ("postgres://h/d", "postgresql+psycopg://h/d"),
        ("sqlite:////var/x.db", "sqlite:////var/x.db"),
    ],
)
def test_database_urls(url: str, expected: str) -> None:
    assert normalise_url(url) == expected


@pytest.mark.parametrize("url", ["mysql://h/d", "sqlite://", "sqlite:///:memory:"])
def test_databases_that_are_not_supported(url: str) -> None:
    with pytest.raises(ValueError, match="DSPT_DATABASE_URL"):
        normalise_url(url)


def test_without_a_broker_the_message_says_what_to_set() -> None:
    with pytest.raises(BrokerNotSetError, match="DSPT_BROKER_URL"):
        celery_app(Settings())


def test_the_visibility_timeout_is_longer_than_any_job_in_every_place() -> None:
    conf = celery_app(Settings(broker_url="redis://localhost:1/0")).conf
    places = [
        conf.broker_transport_options["visibility_timeout"],
        conf.result_backend_transport_options["visibility_timeout"],
        conf.visibility_timeout,
    ]
    assert len(set(places)) == 1
    assert places[0] > conf.task_time_limit > Settings().job_time_limit_seconds
    assert (conf.task_acks_late, conf.task_reject_on_worker_lost) == (True, True)
    assert (conf.worker_prefetch_multiplier, conf.worker_concurrency) == (1, 1)
    assert conf.accept_content == ["json"]
    assert (conf.task_ignore_result, conf.result_backend) == (True, None)


def test_control_characters() -> None:
    assert is_clean("Zoë's 猫 🐈")
    for text in ("a\x00", "a\n", "\ud800", "\x1b[31m"):
        assert not is_clean(text)
    assert cleaned("a\x00b\ud800c\n") == "abc"
