"""A misspelt field or query parameter is refused: it would have no effect."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.integration.jobs import problem

FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


@pytest.mark.parametrize(
    ("path", "fields", "unknown", "meant"),
    [
        ("/predict", {"model": "a", "reject_bellow": "0.9"}, "reject_bellow", "reject_below"),
        ("/batches", {"model": "a", "topk": "1"}, "topk", "top_k"),
        ("/datasets", {"metdata": "{}"}, "metdata", "metadata"),
        ("/jobs", {"classnames": "{}"}, "classnames", "class_names"),
        ("/jobs/check", {"confg": "{}"}, "confg", "config"),
    ],
)
def test_a_misspelt_field(
    client: TestClient, path: str, fields: dict[str, str], unknown: str, meant: str
) -> None:
    body = problem(client.post(path, data=fields), 422, "unknown_field")
    assert [item["param"] for item in body["errors"]] == [unknown]
    assert f"did you mean {meant!r}" in body["detail"]


@pytest.mark.parametrize(
    ("call", "detail"),
    [
        ("GET /jobs?staus=failed", "did you mean 'status'"),
        ("POST /models/a/predict?reject_bellow=0.9", "did you mean 'reject_below'"),
        ("GET /models/a/card?x=1", "Unknown query parameter: 'x'."),
        ("DELETE /jobs/a?force=1", "This call has none."),
    ],
)
def test_a_misspelt_query_parameter(client: TestClient, call: str, detail: str) -> None:
    body = problem(client.request(*call.split(" ")), 422, "unknown_field")
    assert detail in body["detail"]


@pytest.mark.parametrize("path", ["/health/live?from=monitor", "/metrics?name[]=x", "/jobs?="])
def test_what_monitoring_and_scripts_add_is_ignored(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200


def test_of_very_many_names_a_few_are_named(client: TestClient) -> None:
    query = "&".join(f"name{number}=1" for number in range(5000))
    body = problem(client.get(f"/jobs?{query}"), 422, "unknown_field")
    assert len(body["errors"]) == 10
    assert "and 4,990 more" in body["detail"]
    assert len(body["detail"]) < 2000


def test_the_description_says_so_of_every_form(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    forms = [
        content["schema"]
        for path in paths.values()
        for call in path.values()
        for kind, content in call.get("requestBody", {}).get("content", {}).items()
        if kind in FORMS
    ]
    assert len(forms) >= 6
    assert all(form["unevaluatedProperties"] is False for form in forms)
