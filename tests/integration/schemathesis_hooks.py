"""What Schemathesis cannot know from the OpenAPI document: what is in a zip, or what JSON says."""

from __future__ import annotations

import io
import json
import os
import zipfile
from base64 import b64encode
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from PIL import Image
from schemathesis import Case, GenerationMode, HookContext, Response
from schemathesis.core.failures import Failure
from schemathesis.generation.meta import TestPhase
from schemathesis.generation.value import GeneratedValue
from schemathesis.openapi.checks import IgnoredAuth, MissingHeaderNotRejected
from schemathesis.specs.openapi._hypothesis import FormBodyWithContentTypes
from schemathesis.transport.serialization import Binary


def _photo(colour: tuple[int, int, int]) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(data, "PNG")
    return data.getvalue()


def _zip() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, colour in (("red", (200, 0, 0)), ("blue", (0, 0, 200))):
            for number in range(4):
                archive.writestr(zipfile.ZipInfo(f"{name}/{number}.png"), _photo(colour))
    return data.getvalue()


ZIP, PHOTO = Binary(_zip()), Binary(_photo((0, 200, 0)))
#: Ids, names and a path of what was made beforehand (test_schemathesis.Known).
KNOWN = json.loads(os.environ["DSPT_TEST_KNOWN"])
ARTIFACT = Binary(Path(KNOWN["artifact"]).read_bytes())
#: In the audit of the job that has succeeded.
CORRECTIONS = {"relabel": {"red/0.png": "blue"}, "drop": ["blue/0.png"]}


@schemathesis.hook
def before_generate_body(
    context: HookContext, strategy: SearchStrategy[Any]
) -> SearchStrategy[Any]:
    """Let most of the bodies that fit the document make sense too.

    Here, not in the finished case: that is judged again after a change, and bytes do not count as
    the string that the document says a file is, so it would count as one that does not fit.
    """
    assert context.operation is not None
    label = context.operation.label
    sensible = strategy.map(lambda body: _sensible(label, body))
    return st.one_of(sensible, sensible, strategy)


@schemathesis.hook
def before_generate_path_parameters(
    context: HookContext, strategy: SearchStrategy[Any]
) -> SearchStrategy[Any]:
    """Ask most often for what there is where photos or classes are sent to it."""
    assert context.operation is not None
    path = context.operation.path
    names = {
        "/models/{name}/predict": {"name": KNOWN["models"][0]},
        "/models/{name}/predictions": {"name": KNOWN["models"][0]},
        "/models/{name}/retrain": {"name": KNOWN["models"][0]},
        "/models/{model_id}/classes": {"model_id": KNOWN["models"][0]},
        "/datasets/{dataset_id}/images": {"dataset_id": KNOWN["datasets"][0]},
    }
    if path not in names:
        return strategy
    there = strategy.map(lambda drawn: names[path] if _fits(drawn) else drawn)
    return st.one_of(there, there, strategy)


def _fits(drawn: Any) -> bool:
    """Whether what was drawn is to fit the document: what is not says what is wrong with it."""
    return not isinstance(drawn, GeneratedValue) or drawn.meta is None


@schemathesis.hook
def after_call(context: HookContext, case: Case, response: Response) -> None:
    """Note which operations accept a body that was drawn to fit the document."""
    meta = case.meta
    if (
        meta is not None
        and meta.phase.name is TestPhase.FUZZING
        and meta.generation.mode is GenerationMode.POSITIVE
        and response.status_code < 300
    ):
        with Path(KNOWN["accepted"]).open("a") as file:
            file.write(f"{case.operation.label}\n")


def _sensible(label: str, body: Any) -> Any:
    """The body in the place of one that fits the document."""
    if isinstance(body, GeneratedValue):
        return body.map_value(partial(_sensible, label)) if _fits(body) else body
    if isinstance(body, FormBodyWithContentTypes):
        return replace(body, body=_sensible(label, body.body))
    if isinstance(body, bytes | Binary):  # of a photo alone
        return PHOTO
    if not isinstance(body, dict):
        return body
    known = KNOWN["models"][0]
    match label:
        case "POST /jobs":
            return {"dataset": ZIP, "config": '{"epochs": 1}', "name": body.get("name") or "pets"}
        case "POST /batches":
            return {"model": known, "archive": ZIP}  # a zip or a data set, not both
        case "POST /comparisons":
            return body | {"a": known, "b": known, "dataset_id": None, "name": "pets"}
        case "POST /datasets":
            return {"dataset": ZIP}  # a zip or an upload, not both
        case "POST /datasets/{dataset_id}/images":
            return {"archive": ZIP}  # a zip or images, not both
        case "POST /models/{name}/predict":
            return body | {"images": [b64encode(PHOTO.data).decode()]}
        case "POST /jobs/check":
            return {"config": '{"epochs": 1}', "name": "pets"}
        case "POST /jobs/{job_id}/corrections":
            return body | CORRECTIONS | {"keep": [], "new_classes": {}, "config": {"epochs": 1}}
        case "PATCH /jobs/{job_id}/review":
            return body | {"verdicts": {"red/0.png": {"action": "keep"}, "blue/0.png": None}}
        case "POST /models/{model_id}/classes":
            return body | {"classes": {"green": None}}
        case "POST /predict" if "images" in body and all(
            isinstance(i, str) for i in body["images"]
        ):
            return body | {"model": known, "images": [b64encode(PHOTO.data).decode()]}
        case "POST /predict":
            return {"model": known, "images": [PHOTO]}  # images or an archive, not both
        case "POST /webhooks":
            return body | {"url": "https://host.invalid/"}  # and nothing is sent to others
        case "POST /feedback":
            return body | {"prediction": KNOWN["prediction"], "label": "green"}
        case "POST /models/{name}/retrain":
            return body | {"config": {"epochs": 1}}
        case "POST /models":
            return body | {"artifact": ARTIFACT, "name": "imported"}
    return body


#: Calls whose cursor is the place of an item, which has to be there.
_PAGED = (
    "GET /jobs/{job_id}/audit",
    "GET /jobs/{job_id}/predictions",
    "GET /models/{name}/predictions",
)


@schemathesis.hook
def filter_case(context: HookContext, case: Case) -> bool:
    """Keep what was made beforehand: without it much can only be answered by 404.

    And send no made-up cursor, which is refused: an answer gives it.
    """
    if case.operation.label in _PAGED and (case.query or {}).get("after"):
        return False
    kept = {*KNOWN["jobs"], *KNOWN["models"], *KNOWN["aliases"]}
    return case.method != "DELETE" or kept.isdisjoint(case.path_parameters.values())


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case, response: Response) -> bool:
    """After so many wrong keys the service does not look at further ones, and says so by 429."""
    of_keys = isinstance(failure, IgnoredAuth | MissingHeaderNotRejected)
    return not (of_keys and "429 " in failure.message)
