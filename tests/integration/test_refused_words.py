"""Values that must match a pattern are refused in words, without a regular expression."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.kit.settings import Settings
from app.main import create_app
from tests.integration.conftest import local_client


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("words"), no_auth=True)
    with local_client(create_app(settings)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("method", "path", "body", "says"),
    [
        ("PUT", "/aliases/Latest!", {"model": "m"}, "name: An alias has lower-case letters"),
        ("PATCH", "/models/m", {"alias": "Latest!"}, "alias: An alias has lower-case letters"),
        ("PATCH", "/models/m", {"name": " "}, "name: must not be empty"),
        ("PATCH", "/models/m", {"metadata": {"a b": "c"}}, "A key has 1 to 64 letters"),
        ("PATCH", "/models/m", {"metadata": {"a": "\n"}}, "and no control characters"),
        ("POST", "/tokens", {"path": "jobs?a=b"}, "path: must be a path such as /jobs"),
        ("POST", "/uploads", {"size_bytes": 1, "sha256": "x"}, "sha256: must be 64 hexadecimal"),
        ("GET", "/jobs?after=x", None, "after: must be `next` of the previous page"),
        ("GET", "/jobs/j/audit?after=x", None, "after: must be `next` of the previous page"),
        ("GET", "/jobs/j/predictions?after=x", None, "after: must be `next` of the previous page"),
        ("GET", "/jobs?metadata=a", None, "must be key=value. A key has"),
    ],
)
def test_a_value_is_refused_in_words(
    client: TestClient, method: str, path: str, body: dict[str, Any] | None, says: str
) -> None:
    response = client.request(method, path, json=body)
    assert response.status_code == 422, response.text
    problem = response.json()
    assert says in problem["detail"]
    assert problem["errors"][0]["code"] == "string_pattern_mismatch"
    assert not any(sign in problem["detail"] for sign in ("pattern", "^", "A-Z", "Value error"))
