"""What `dspt doctor` says of a key."""

from __future__ import annotations

import httpx
import pytest

from app.doctor.findings import State
from app.doctor.service import _key


@pytest.mark.parametrize(
    ("status", "state", "fix"),
    [
        (401, State.FAIL, "dspt keys create"),
        (403, State.FAIL, "dspt keys create"),
        (429, State.WARN, "again"),
        (503, State.WARN, "again"),
    ],
)
def test_a_service_without_a_database_does_not_need_another_key(
    status: int, state: State, fix: str
) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json={"detail": "The database does not answer."})

    with httpx.Client(transport=httpx.MockTransport(answer), base_url="http://test") as http:
        found = _key(http, has_key=True)
    assert found.state == state
    assert f"{status}: The database does not answer." in found.found
    assert fix in found.fix
