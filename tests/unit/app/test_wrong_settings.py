"""A wrong setting is one sentence that names the variable, whichever command reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import invoke

WRONG = [
    ("DSPT_PORT", "99999", "Input should be less than or equal to 65535"),
    ("DSPT_POOLS", "abc", "invalid JSON: Expecting value: line 1 column 1 (char 0). Pools of"),
    ("DSPT_POOLS", '[{"name": "a"}]', "[0].backbones: Field required"),
    (
        "DSPT_POOLS",
        '[{"name": "a", "backbones": "builtin"}]',
        '[0].backbones: must be "*" or a list of names of backbones',
    ),
    (
        "DSPT_POOLS",
        '[{"name": "a", "backbones": "*"}, {"name": "a", "backbones": "*"}]',
        "two pools have the same name",
    ),
    ("DSPT_BOOTSTRAP_KEY", "abc", "invalid. An admin key that the API creates at its start"),
    ("DSPT_OTEL_ENDPOINT", "localhost:4318", "invalid. OpenTelemetry collector for traces (OTLP"),
    ("DSPT_DATABASE_URL_FILE", "/nowhere", "cannot read /nowhere: No such file or directory"),
    ("DSPT_PREDICT_URL", "foo", "invalid. Addresses (`http://HOST:PORT`) of processes with"),
    ("DSPT_PREDICT_URL_HOSTS", "a.example", "invalid JSON: Expecting value"),
    ("DSPT_PREDICT_MAX_IMAGES", "0", "Input should be greater than or equal to 1"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
@pytest.mark.parametrize("command", ["api", "serve"])
def test_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: str,
    name: str,
    value: str,
    message: str,
) -> None:
    monkeypatch.setenv("DSPT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv(name, value)
    result = invoke([command])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{name}: {message}")


def test_all_wrong_settings_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPT_PORT", "a")
    monkeypatch.setenv("DSPT_PREDICT_MAX_IMAGES", "b")
    lines = invoke(["api"]).stderr.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["DSPT_PORT", "DSPT_PREDICT_MAX_IMAGES"]


def test_doctor_goes_on_with_a_secret_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPT_DATABASE_URL_FILE", "/nowhere")
    result = invoke(["doctor", "--json"])
    assert result.exit_code == 1
    assert "cannot read /nowhere" in result.stdout
