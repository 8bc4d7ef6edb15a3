"""Settings that cannot be used: refused by name before anything is stored, or by the job."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.acceptance.conftest import MISSING_FOLDER
from tests.acceptance.photos import good_zip, photos, zipped
from tests.acceptance.service import error_of, post_job, problem_of


@pytest.mark.parametrize("setting", ["learning_rate", "Epochs", "n-ctx"])
def test_an_unknown_setting_is_named(service: httpx.Client, setting: str) -> None:
    response = post_job(service, good_zip(), {setting: 1})
    problem = problem_of(response, 422, "invalid_config")
    [item] = problem["errors"]
    assert (item["param"], item["code"]) == (setting, "unknown_setting")
    assert setting in problem["detail"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("epochs", 0),
        ("epochs", 1001),
        ("epochs", "many"),
        ("batch_size", 0),
        ("lr", 0),
        ("lr", -0.1),
        ("n_ctx", 65),
        ("ctx_init", ""),
        ("augment_views", -1),
        ("shots", 0),
        ("validation_fraction", 1),
        ("seed", -1),
        ("loss", "hinge"),
        ("precision", "float8"),
        ("device", "tpu"),
        ("backbone", ""),
    ],
)
def test_a_value_out_of_range_is_named(service: httpx.Client, setting: str, value: Any) -> None:
    response = post_job(service, good_zip(), {setting: value})
    problem = problem_of(response, 422, "invalid_config")
    [item] = problem["errors"]
    assert (item["param"], item["code"]) == (setting, "invalid_setting")
    assert setting in problem["detail"]


def test_all_settings_at_fault_are_named_at_once(service: httpx.Client) -> None:
    response = post_job(service, good_zip(), {"epochs": 0, "lr": 0, "momentum": 0.9})
    problem = problem_of(response, 422, "invalid_config")
    assert {item["param"] for item in problem["errors"]} == {"epochs", "lr", "momentum"}


@pytest.mark.parametrize("field", ["config", "class_names"])
@pytest.mark.parametrize("text", ["{not json", "[1, 2]", '"text"', "NaN"])
def test_a_field_that_is_no_json_object(service: httpx.Client, field: str, text: str) -> None:
    files = {"dataset": ("photos.zip", good_zip())}
    problem = problem_of(
        service.post("/jobs", files=files, data={field: text}), 422, "invalid_json"
    )
    assert problem["errors"][0]["param"] == field


def test_a_misspelt_field_is_reported(service: httpx.Client) -> None:
    files = {"dataset": ("photos.zip", good_zip())}
    response = service.post("/jobs", files=files, data={"classnames": "{}"})
    problem = problem_of(response, 422, "unknown_field")
    assert problem["errors"][0]["param"] == "classnames"


def test_an_unknown_backbone(service: httpx.Client) -> None:
    for name, why in (
        ("ViT-B-61/openai", "did you mean ViT-B-16"),
        ("nosuch", "unknown backbone nosuch"),
        ("ViT-B-16", "does not name a set of weights; use ViT-B-16/TAG"),
        ("ViT-B-16/openia", "did you mean ViT-B-16/openai"),
    ):
        response = post_job(service, good_zip(), {"backbone": name})
        problem = problem_of(response, 422, "unknown_backbone")
        assert [item["param"] for item in problem["errors"]] == ["backbone"]
        assert why in problem["detail"]
        # The same before the photos are sent.
        checked = service.post("/jobs/check", data={"config": json.dumps({"backbone": name})})
        assert checked.json() == problem
    assert service.post("/jobs/check", data={"config": '{"epochs": 3}'}).status_code == 204


def test_weights_that_cannot_be_reached(service: httpx.Client) -> None:
    """The service under test is kept from the hub and has nothing in its cache."""
    error = error_of(service, good_zip(), {"backbone": "ViT-B-16/openai"})
    assert error["code"] == "weights_unavailable"
    assert error["param"] == "backbone"
    assert "HF_HUB_OFFLINE" in error["message"]
    assert "hf download" in error["message"]


def test_weights_in_a_folder_that_is_not_there(service: httpx.Client) -> None:
    error = error_of(service, good_zip(), {"backbone": MISSING_FOLDER})
    assert error["code"] == "weights_unavailable"
    assert "/nowhere/at/all" in error["message"]


def test_words_that_do_not_fit_the_context_window(service: httpx.Client) -> None:
    files = photos("apple", "lime", "a very long name of a fruit that does not exist anywhere")
    error = error_of(service, zipped(files), {"n_ctx": 64, "ctx_init": "random"})
    assert error["code"] == "prompt_too_long"
    assert "77" in error["message"]
    assert "a very long name of a fruit" in error["message"]


def test_settings_that_contradict_each_other(service: httpx.Client) -> None:
    """A context of 39 words cannot have 4 vectors."""
    error = error_of(service, good_zip(), {"n_ctx": 4, "ctx_init": "word " * 39})
    assert error["code"] == "invalid_config"
    assert error["param"] == "n_ctx"


@pytest.mark.parametrize("backbone", ["local-dir:/etc", "ViT-B-16@/etc/passwd"])
def test_a_path_on_the_server_is_not_for_requests_to_name(
    service: httpx.Client, backbone: str
) -> None:
    response = post_job(service, good_zip(), {"backbone": backbone})
    problem = problem_of(response, 422, "backbone_not_allowed")
    assert "DSPT_LOCAL_BACKBONES" in problem["detail"]
    assert [item["param"] for item in problem["errors"]] == ["backbone"]
