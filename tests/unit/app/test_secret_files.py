"""Settings whose values come from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.doctor import variables
from app.doctor.findings import State
from app.kit.secret_files import SecretFileError, is_secret
from app.kit.settings import Settings

NAMES = [name for name, field in Settings.model_fields.items() if is_secret(field)]
VALUE = {
    "bootstrap_key": "s3cret" * 8,
    "signing_key": "s3cret" * 8,
    "database_url": "postgresql://dspt:s3cret@db/dspt",
}


def test_every_setting_with_a_secret_is_marked() -> None:
    assert set(NAMES) == {
        "database_url",
        "owner_database_url",
        "broker_url",
        "storage_url",
        "bootstrap_key",
        "signing_key",
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_value_from_a_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, value = tmp_path / "secret", VALUE.get(name, "redis://:s3cret@redis:6379/0")
    file.write_text(f"{value}\n")
    monkeypatch.setenv(f"DSPT_{name.upper()}_FILE", str(file))
    settings = Settings(data_dir=tmp_path)
    assert getattr(settings, name) == value
    assert getattr(Settings(**{name: value}), name) == value  # arguments win
    monkeypatch.setenv(f"DSPT_{name.upper()}", "")
    assert getattr(Settings(data_dir=tmp_path), name) == value  # empty counts as not set


def test_only_secrets_come_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "port").write_text("9000")
    monkeypatch.setenv("DSPT_PORT_FILE", str(tmp_path / "port"))
    assert Settings().port == 8000


def test_a_file_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    monkeypatch.setenv("DSPT_DATABASE_URL_FILE", str(file))
    for content, reason in ((None, "No such file"), (b" \n", "is empty"), (b"\xff", "not a text")):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(SecretFileError, match=reason) as caught:
            Settings()
        assert str(caught.value).startswith("DSPT_DATABASE_URL_FILE: ")
    file.write_text("sqlite:////a.db")
    monkeypatch.setenv("DSPT_DATABASE_URL", "sqlite:////b.db")
    with pytest.raises(SecretFileError, match="only one of them"):
        Settings()
    (found,) = [
        finding
        for finding in variables.look({"DSPT_DATABASE_URL_FILE": str(file)})
        if finding.state is not State.OK
    ]
    assert (found.check, found.state) == ("DSPT_DATABASE_URL_FILE", State.FAIL)
