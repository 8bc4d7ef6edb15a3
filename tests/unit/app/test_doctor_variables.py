"""Settings that are set, wrong, misspelt or secret, as `dspt doctor` reports them."""

from __future__ import annotations

import json

import pytest
from pydantic_settings import BaseSettings

import app.main  # noqa: F401  all settings of the service are defined once these are imported
import worker.cli  # noqa: F401
from app.doctor.findings import State
from app.doctor.variables import KINDS, look, shown


@pytest.mark.parametrize(
    ("name", "value", "state", "found", "fix"),
    [
        ("DSPT_HOST", "0.0.0.0", State.OK, "0.0.0.0", ""),
        ("DSPT_API_KEY", "dspt_1", State.OK, "***", ""),
        ("DSPT_DATABASE_URL", "postgresql://a:b@c/d", State.OK, "postgresql://a:***@c/d", ""),
        ("DSPT_BROKER_URL", "redis://:b@c:1/0", State.OK, "redis://:***@c:1/0", ""),
        ("DSPT_PORT", "http", State.FAIL, "http: Input should be a valid integer", "settings.md"),
        ("DSPT_PREDICT_MAX_IMAGES", "0", State.FAIL, "0: Input should be greater", "settings.md"),
        ("DSPT_LOCAL_BACKBONES", "a", State.FAIL, "a: invalid JSON: Expecting", "settings.md"),
        ("DSPT_PREDICT_URL", "foo", State.FAIL, "foo: invalid. Addresses", "settings.md"),
        (
            "DSPT_HEARTBEAT",
            "5",
            State.WARN,
            "unknown setting",
            "did you mean DSPT_HEARTBEAT_SECONDS?",
        ),
        ("DSPT_PREDICT_WARMUP", "x", State.WARN, "unknown setting", "DSPT_PREDICT_WARM_UP?"),
        ("DSPT_XYZ", "", State.WARN, "unknown setting", "it is not used"),
    ],
)
def test_a_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, state: State, found: str, fix: str
) -> None:
    monkeypatch.setenv(name, value)
    (finding,) = look({name: value, "HOME": "/"})
    assert (finding.check, finding.state) == (name, state)
    assert found in finding.found
    assert fix in finding.fix


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("builtin, ViT-B-16/openai", ""),
        ("ViT-B-61/openai", "unknown backbone ViT-B-61 (did you mean"),
        ("builtin,ViT-B-16/opnai", "ViT-B-16 has no weights opnai: did you mean ViT-B-16/openai?"),
        ("ViT-B-16", "ViT-B-16 does not name a set of weights"),
        ("local-dir:/models/clip", ""),
    ],
)
def test_a_name_that_no_backbone_has(
    names: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools = json.dumps([{"name": "a", "backbones": [name.strip() for name in names.split(",")]}])
    monkeypatch.setenv("DSPT_LOCAL_BACKBONES", '["local-dir:/models/clip"]')
    for variable, value in (("DSPT_PREDICT_WARM_UP", names), ("DSPT_POOLS", pools)):
        monkeypatch.setenv(variable, value)
        (finding,) = look({variable: value})
        assert finding.state == (State.FAIL if message else State.OK)
        assert finding.found.startswith(f"{value}: {message}" if message else value)


def test_a_pool_with_a_folder_that_jobs_may_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    value = '[{"name": "a", "backbones": ["local-dir:/models/clip"]}]'
    monkeypatch.setenv("DSPT_POOLS", value)
    (finding,) = look({"DSPT_POOLS": value})
    assert finding.state == State.FAIL
    assert "local-dir:/models/clip is not in DSPT_LOCAL_BACKBONES" in finding.found


def test_all_settings_classes_are_known() -> None:
    def below(base: type[BaseSettings]) -> set[type[BaseSettings]]:
        found = set(base.__subclasses__())
        return found.union(*map(below, found))

    of_the_service = {
        kind
        for kind in below(BaseSettings)
        if kind.model_fields and kind.__module__.split(".")[0] in ("app", "worker")
    }
    assert of_the_service == set(KINDS)


def test_nothing_is_set() -> None:
    (finding,) = look({"PATH": ""})
    assert (finding.state, finding.found) == (State.OK, "none is set; the defaults apply")


def test_empty_counts_as_not_set() -> None:
    assert list(look({"DSPT_BROKER_URL": ""})) == []


def test_passwords_are_not_shown_in_errors() -> None:
    assert shown("", "cannot reach redis://u:p@h/0") == "cannot reach redis://u:***@h/0"
