"""Every code of a problem document has a page."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from dspt_client.schemas.status import Status
from fastapi import FastAPI
from fastapi.testclient import TestClient

import app
import dspt.errors
from app.batches.repository import BATCHES
from app.comparisons.repository import COMPARISONS
from app.jobs.repository import JOBS
from app.kit.http import errors
from app.kit.http.error_types import ERROR_TYPES, type_of
from app.kit.http.errors_page import router
from app.kit.settings import Settings
from app.main import create_app
from app.predictions.settings import PredictionSettings
from dspt.errors import Cancelled, DatasetError, DsptError

#: Codes of items in `errors`, not of documents.
ITEMS = {"unknown_setting", "one_page", "storage_unavailable"}


def test_every_code_in_the_source_is_explained() -> None:
    found = {kind.default_code for kind in errors.ApiError.__subclasses__()}
    for path in Path(app.__file__).parent.rglob("*.py"):
        found |= set(re.findall(r'\bcode="([a-z_]+)"', path.read_text()))
        found |= set(re.findall(r'_wrong\(\s*\S+ "([a-z_]+)"', path.read_text()))
    kinds = [DsptError]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if kind not in (DatasetError, Cancelled):
            found.add(kind.code)
    for kind_of_row in (JOBS, BATCHES, COMPARISONS):
        found |= {f"{kind_of_row.noun}_{what}" for what in ("not_found", "finished")}
        found |= {f"{kind_of_row.noun}_not_finished"}
        found |= {kind_of_row.not_retriable(status) for status in Status}
    assert len(found) > 50
    assert found - ITEMS - ERROR_TYPES.keys() == set()
    assert type_of("job_not_found") == "/errors/job_not_found"
    assert type_of("never_heard_of") == "about:blank"


def test_every_code_has_the_status_of_the_errors_that_are_raised() -> None:
    kinds = {kind.__name__: kind for kind in errors.ApiError.__subclasses__()}
    raised = {(kind.default_code, kind.status) for kind in kinds.values()}
    for path in Path(app.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.ExceptHandler(type=ast.expr() as caught):
                    codes = {c for word in ast.walk(caught) for c in _codes(ast.unparse(word))}
                    raised |= {(c, s) for s in _passed_on(node, kinds) for c in codes}
                case ast.Call(ast.Name(name) | ast.Attribute(attr=name)) if name in kinds:
                    raised |= {
                        (word.value.value, kinds[name].status)
                        for word in node.keywords
                        if word.arg == "code" and isinstance(word.value, ast.Constant)
                    }
    assert len(raised) > 80
    assert [(c, s) for c, s in sorted(raised) if s not in ERROR_TYPES[c].statuses] == []


def _codes(name: str) -> set[str]:
    """The codes of an error of the library with this name, and of more precise ones."""
    kind = getattr(dspt.errors, name, None)
    return {each.code for each in (kind, *kind.__subclasses__())} if kind else set()


def _passed_on(handler: ast.ExceptHandler, kinds: dict[str, type[errors.ApiError]]) -> set[int]:
    """The statuses with which a handler passes on the code of the error that it caught."""
    return {
        kinds[call.func.id].status
        for call in ast.walk(handler)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in kinds
        and any(
            word.arg == "code" and isinstance(word.value, ast.Attribute) for word in call.keywords
        )
    }


def test_calls_and_settings_that_fix_an_error_exist(tmp_path: Path) -> None:
    calls = {
        f"{method.upper()} {re.sub('{.*?}', '{}', path)}"
        for path, methods in create_app(Settings(data_dir=tmp_path)).openapi()["paths"].items()
        for method in methods
    }
    texts = [f"{each.meaning} {each.fix}" for each in ERROR_TYPES.values()]
    named = re.findall(r"(?:GET|POST|PUT|PATCH|DELETE) /[\w/{}]+", " ".join(texts))
    assert len(named) > 30
    assert {re.sub("{.*?}", "{}", call) for call in named} - calls == set()
    settings = {name for text in texts for name in re.findall(r"DSPT_\w+", text)}
    known = {f"DSPT_{name.upper()}" for name in Settings.model_fields}
    known |= {f"DSPT_PREDICT_{name.upper()}" for name in PredictionSettings.model_fields}
    assert len(settings) > 5
    assert settings - known == set()


@pytest.mark.parametrize("code", ["job_not_found", "cross_site"])
def test_the_page_of_an_error(code: str) -> None:
    api = FastAPI()
    api.include_router(router)
    client = TestClient(api)
    page = client.get(type_of(code))
    assert page.status_code == 200
    assert code in page.text
    assert str(ERROR_TYPES[code].statuses[0]) in page.text
    every = client.get("/errors").text
    assert all(f'"errors/{name}"' in every for name in ERROR_TYPES)
    assert client.get("/errors/x").status_code == 404
