"""What Schemathesis cannot know from the OpenAPI document: what is in a zip, or what JSON says."""

from __future__ import annotations

import io
import json
import os
import zipfile
from base64 import b64encode
from pathlib import Path

import schemathesis
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from PIL import Image
from schemathesis import Case, GenerationMode, HookContext, Response
from schemathesis.core.failures import Failure
from schemathesis.generation.meta import TestPhase
from schemathesis.openapi.checks import IgnoredAuth, MissingHeaderNotRejected
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
#: In the audit of the job that has succeeded.
CORRECTIONS = {"relabel": {"red/0.png": "blue"}, "drop": ["blue/0.png"]}


@schemathesis.hook
def before_generate_case(
    context: HookContext, strategy: SearchStrategy[Case]
) -> SearchStrategy[Case]:
    """Let most of the bodies that fit the document make sense too."""
    sensible = strategy.map(_sensible)
    return st.one_of(sensible, sensible, strategy)


def _sensible(case: Case) -> Case:
    body, meta = case.body, case.meta
    if (
        meta is None
        or meta.phase.name not in (TestPhase.FUZZING, TestPhase.STATEFUL)
        or meta.generation.mode is not GenerationMode.POSITIVE
        or not isinstance(body, dict)
    ):
        return case
    # In place: a body that is set again is judged again, and bytes do not count as the string that
    # the document says a file is.
    if case.operation.label == "POST /jobs":
        name = body.get("name") or "pets"
        body.clear()
        body.update(dataset=ZIP, config='{"epochs": 1}', name=name)
    elif case.operation.label == "POST /datasets":
        body.clear()  # a zip or an upload, not both
        body.update(dataset=ZIP)
    elif case.operation.label == "POST /models/{name}/predict":
        case.path_parameters.update(name=KNOWN["models"][0])
        body.update(images=[b64encode(PHOTO.data).decode()])
    elif case.operation.label == "POST /jobs/check":
        body.clear()
        body.update(config='{"epochs": 1}', name="pets")
    elif case.operation.label == "POST /jobs/{job_id}/corrections":
        body.update(CORRECTIONS, keep=[], new_classes={}, config={"epochs": 1})
    elif case.operation.label == "PATCH /jobs/{job_id}/review":
        body.update(verdicts={"red/0.png": {"action": "keep"}, "blue/0.png": None})
    elif case.operation.label == "POST /models/{model_id}/classes":
        case.path_parameters.update(model_id=KNOWN["models"][0])
        body.update(classes={"green": None})
    elif case.operation.label == "POST /predict":
        known = KNOWN["models"][0]
        body.clear()  # images or an archive, not both
        body.update(model=known, images=[PHOTO])
    elif case.operation.label == "POST /models":
        body.update(artifact=Binary(Path(KNOWN["artifact"]).read_bytes()), name="imported")
    return case


#: Calls whose cursor is a position in a file.
_PAGED = ("GET /jobs/{job_id}/audit", "GET /jobs/{job_id}/predictions")


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
