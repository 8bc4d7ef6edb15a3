"""The service that the client and its commands talk to."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import httpx
from dspt_client._client import http_options

from app.doctor.findings import Finding, State

_PART = "service"
_SECONDS = 10.0
_NAMES = {"data_dir": "data directory"}
_STATES = {"ok": State.OK, "failing": State.FAIL}


def look(url: str | None, *, named: bool) -> Iterator[Finding]:
    """Check that it answers, is ready and accepts the key. named: an address was given."""
    try:
        options = http_options(url, None, _SECONDS)
    except ValueError as error:
        yield Finding(_PART, "address", State.FAIL, str(error), "correct DSPT_URL or DSPT_API_KEY")
        return
    address = str(options["base_url"])
    with httpx.Client(**options) as http:
        try:
            live = http.get("/health/live")
            if not _is_json(live) or live.json().get("status") != "live":
                found = f"{address} answers, but is not a DSPT service ({live.status_code})"
                yield Finding(_PART, "address", State.FAIL, found, "correct DSPT_URL")
                return
            yield _version(http, address)
            yield from _ready(http)
            yield _key(http, has_key="Authorization" in options["headers"])
        except httpx.RequestError as error:
            state = State.FAIL if named else State.OFF
            fix = "start it with dspt serve, or set DSPT_URL to its address"
            yield Finding(_PART, "address", state, f"{address} does not answer: {error}", fix)


def _version(http: httpx.Client, address: str) -> Finding:
    answer = http.get("/openapi.json")
    theirs = answer.json()["info"]["version"] if _is_json(answer) else "unknown"
    ours = version("dspt")
    if theirs.split(".")[:2] == ours.split(".")[:2]:
        return Finding(_PART, "address", State.OK, f"{address}, version {theirs}")
    found = f"{address}, version {theirs}; this is version {ours}"
    fix = "the client supports services one minor version older; else install the same version"
    return Finding(_PART, "address", State.WARN, found, fix)


def _ready(http: httpx.Client) -> Iterator[Finding]:
    answer = http.get("/health/ready")
    checks: dict[str, Any] = answer.json().get("checks", {}) if _is_json(answer) else {}
    for name, check in checks.items():
        status, detail = check.get("status"), check.get("detail", "")
        state = _STATES.get(status, State.WARN)
        found = f"{check['count']} running" if "count" in check else str(status)
        yield Finding(_PART, f"its {_NAMES.get(name, name)}", state, found, detail)
    if not checks:
        found = f"/health/ready answers {answer.status_code} without a report"
        yield Finding(_PART, "ready", State.FAIL, found, "see the log of the service")


def _key(http: httpx.Client, *, has_key: bool) -> Finding:
    answer = http.get("/jobs", params={"limit": 1})
    if answer.is_success:
        return Finding(_PART, "key", State.OK, "accepted" if has_key else "not needed")
    detail = answer.json().get("detail", "") if "json" in _kind(answer) else answer.reason_phrase
    found = f"{answer.status_code}: {detail}"
    if answer.status_code not in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        fix = "run dspt doctor again when the service answers"  # another key would change nothing
        return Finding(_PART, "key", State.WARN, f"not checked, {found}", fix)
    fix = "set DSPT_API_KEY to a key made by dspt keys create"
    return Finding(_PART, "key", State.FAIL, found, fix)


def _is_json(answer: httpx.Response) -> bool:
    return _kind(answer) == "application/json"


def _kind(answer: httpx.Response) -> str:
    return str(answer.headers.get("Content-Type", "")).partition(";")[0]
