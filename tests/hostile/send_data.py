"""Send hostile files to the calls about data sets, batches and plain bodies."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Set

import httpx

from tests.acceptance.service import Json
from tests.hostile.case import Case
from tests.hostile.send import (
    NOT_OURS,
    Answer,
    code_of,
    of_prediction,
    outcome_of,
    predicted,
    several_at_once,
    wait_for,
)
from tests.hostile.zip_bytes import zip_of

_SHOWN = 100


def archives_as_data_sets(client: httpx.Client, cases: Iterable[Case]) -> Iterator[Answer]:
    """Upload each by itself, look at its photos and delete it."""
    for case in cases:
        files = {"dataset": ("photos.zip", case.data)}
        yield _stored(client, case, client.post("/datasets", files=files))


def archives_added(client: httpx.Client, dataset: str, cases: Iterable[Case]) -> Iterator[Answer]:
    """Add each to a data set, look at the photos that are new and delete the new version."""
    known = _numbers(client, dataset)
    for case in cases:
        files = {"archive": ("photos.zip", case.data)}
        sent = client.post(f"/datasets/{dataset}/images", files=files)
        yield _stored(client, case, sent, known)


def images_added(client: httpx.Client, dataset: str, cases: Iterable[Case]) -> Iterator[Answer]:
    """Add each to a class of a data set, look at the new photo and delete the new version."""
    known = _numbers(client, dataset)
    for case in cases:
        files = {"images": (f"{case.name}.jpg", case.data)}
        data = {"label": "cat"}
        sent = client.post(f"/datasets/{dataset}/images", files=files, data=data)
        yield _stored(client, case, sent, known)


def images_in_bodies(client: httpx.Client, model: str, cases: Iterable[Case]) -> Iterator[Answer]:
    """Send each as a plain body, and as JSON; the two answers must agree."""
    where = f"/models/{model}/predict"
    for case in cases:
        plain = client.post(where, content=case.data, headers={"Content-Type": "image/jpeg"})
        body = {"images": [base64.b64encode(case.data).decode()]}
        in_json = client.post(where, json=body)
        answers = [predicted(case, response) for response in (plain, in_json)]
        same = answers[0].outcome == answers[1].outcome
        yield answers[0] if same else Answer(case, "wrong", " | ".join(a.said for a in answers))


def archives_as_batches(
    client: httpx.Client, model: str, cases: Iterable[Case]
) -> Iterator[Answer]:
    """Have each classified in the background, several at a time."""
    return several_at_once(
        cases,
        lambda case: _post_batch(client, model, case.data),
        lambda case, batch_id: _classified(client, case, batch_id),
    )


def images_in_a_batch(client: httpx.Client, model: str, cases: Iterable[Case]) -> Iterator[Answer]:
    """Have all of them classified as one batch."""
    among = {f"{case.name}.jpg": case for case in cases}
    sent = _post_batch(client, model, zip_of({name: c.data for name, c in among.items()}, 0))
    sent.raise_for_status()
    batch, results = _batch(client, sent.json()["id"])
    found = {result["file"]: result for result in results}
    for name, case in among.items():
        if batch["status"] != "succeeded" or name not in found:
            yield Answer(case, "wrong", f"{batch['status']}: {batch['error']}")
        else:
            yield of_prediction(case, found[name])


def _numbers(client: httpx.Client, dataset: str) -> set[int]:
    """Return the numbers of a data set's photos, which later versions keep."""
    listed = client.get(f"/datasets/{dataset}/images", params={"limit": _SHOWN}).raise_for_status()
    return {photo["number"] for photo in listed.json()["data"]}


def _stored(
    client: httpx.Client, case: Case, sent: httpx.Response, known: Set[int] = frozenset()
) -> Answer:
    """Look at the photos of the data set that was made, except for those that were known."""
    if sent.status_code != 201:
        return Answer(case, outcome_of(sent), code_of(sent))
    where = sent.json()["links"]["self"]
    answer = Answer(case, "harmless", "")
    listed = client.get(f"{where}/images", params={"limit": _SHOWN}).raise_for_status().json()
    numbers = {photo["number"] for photo in listed["data"]}
    if lost := known - numbers:
        answer = Answer(case, "wrong", f"the new version lacks the photos {sorted(lost)}")
    for number in sorted(numbers - known):
        shown = client.get(f"{where}/images/{number}", params={"size": 192})
        if shown.status_code != 200:
            refused = outcome_of(shown) == "refused"
            answer = Answer(case, "rejected" if refused else "wrong", code_of(shown))
    client.delete(where).raise_for_status()
    return answer


def _classified(client: httpx.Client, case: Case, batch_id: str) -> Answer:
    batch, results = _batch(client, batch_id)
    errors = [result["error"]["message"] for result in results if "error" in result]
    if batch["status"] == "failed" and batch["error"]["code"] not in NOT_OURS:
        return Answer(case, "failed", batch["error"]["code"])
    if batch["status"] != "succeeded" or len(results) != batch["images"]:
        return Answer(case, "wrong", f"{batch['status']}, {len(results)} results")
    return Answer(case, "rejected" if errors else "harmless", errors[0] if errors else "")


def _post_batch(client: httpx.Client, model: str, archive: bytes) -> httpx.Response:
    return client.post("/batches", files={"archive": ("a.zip", archive)}, data={"model": model})


def _batch(client: httpx.Client, batch_id: str) -> tuple[Json, list[Json]]:
    """Return the ended batch and its results, and delete it."""
    where = f"/batches/{batch_id}"
    batch = wait_for(client, where)
    lines = client.get(f"{where}/results").raise_for_status().text.splitlines()
    client.delete(where).raise_for_status()
    return batch, [json.loads(line) for line in lines]
