"""The HTML page to review suspect labels: self-contained, safe with any names."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

from dspt.report.review_page import MAX_PHOTOS, review_page

EVIL = "</script><script>alert(1)</script>/<!--.png"


def entry(file: str, **values: Any) -> dict[str, Any]:
    found = {"file": file, "given": "cat", "suggested": "dog", "score": 0.9, "suspect": True}
    return found | values


def page_of(entries: list[dict[str, Any]], suspects: int, most: int = 50) -> str:
    return review_page(
        entries,
        ["cat", "dog"],
        suspects,
        lambda each: None if each["file"] == "gone.png" else b"jpeg",
        most=most,
        title="<b>pets</b>",
        command="dspt audit --corrections",
    )


def data_of(page: str) -> dict[str, Any]:
    (found,) = re.findall(r'id="data">(.*?)</script>', page)
    document: dict[str, Any] = json.loads(found)
    return document


def test_names_are_data_and_nothing_else_runs_or_is_loaded() -> None:
    page = page_of([entry(EVIL), entry("gone.png")], 2)
    first, second = data_of(page)["entries"]
    assert first["file"] == EVIL
    assert first["photo"] == "data:image/jpeg;base64," + base64.b64encode(b"jpeg").decode()
    assert "photo" not in second
    assert page.count("<script") == 2
    assert "<b>pets" not in page
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'; img-src data:; ")
    for kind, text in re.findall(r"<(style|script)>(.*?)</\1>", page, re.DOTALL):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert not re.search(r"https?://|@import|url\(", page)


def test_suspects_come_first_and_confirmed_labels_are_left_out() -> None:
    entries = [entry("kept.png", suspect=False, kept=True), entry("low.png", suspect=False)]
    entries += [entry(f"{n}.png") for n in range(3)]
    files = [each["file"] for each in data_of(page_of(entries, 3, most=4))["entries"]]
    assert files == ["0.png", "1.png", "2.png", "low.png"]
    many = [entry(f"{n}.png") for n in range(MAX_PHOTOS + 1)]
    assert len(data_of(page_of(many, len(many)))["entries"]) == MAX_PHOTOS
