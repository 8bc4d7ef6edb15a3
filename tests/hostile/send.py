"""Send hostile files to a running service and classify the result of each."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

import httpx

from tests.acceptance.service import ENDED, Json, post_job, run_job
from tests.hostile.case import Case
from tests.hostile.zip_bytes import good_files, zip_of
from tests.services import wait_until

Outcome = Literal["refused", "failed", "rejected", "harmless", "wrong"]
"""Refused with a 4xx; accepted, but its job failed with a proper error; some files rejected; all
accepted without harm; anything else."""

QUICK: Json = {"epochs": 1, "classifier": "prompt"}
IMAGES_IN_A_ZIP = 30
_MOST_AT_ONCE = 16
_JOB_SECONDS = 600.0
_PAUSE_SECONDS = 0.1
NOT_OURS = ("internal_error", "out_of_memory", "time_limit", "too_many_attempts")
"""Error codes of jobs that failed for another reason than the upload."""


@dataclass(frozen=True)
class Answer:
    """The result of one file."""

    case: Case
    outcome: Outcome
    said: str


def archives_as_jobs(client: httpx.Client, cases: Iterable[Case]) -> Iterator[Answer]:
    """Submit each as a job, several at a time; ended jobs and their models are deleted."""
    return several_at_once(
        cases,
        lambda case: post_job(client, case.data, QUICK),
        lambda case, job_id: _ended(client, case, job_id),
    )


def several_at_once(
    cases: Iterable[Case],
    post: Callable[[Case], httpx.Response],
    end: Callable[[Case, str], Answer],
) -> Iterator[Answer]:
    """Have each accepted (202) by `post`, and wait for what `end` makes of its id."""
    waiting: deque[tuple[Case, str]] = deque()
    for case in cases:
        response = post(case)
        if response.status_code == 202:
            waiting.append((case, response.json()["id"]))
        else:
            yield Answer(case, outcome_of(response), code_of(response))
        while len(waiting) >= _MOST_AT_ONCE:
            yield end(*waiting.popleft())
    while waiting:
        yield end(*waiting.popleft())


def images_as_jobs(
    client: httpx.Client, cases: Iterable[Case], rng: random.Random
) -> Iterator[Answer]:
    """Submit them in zips with valid images, as images of one class."""
    waiting = list(cases)
    for start in range(0, len(waiting), IMAGES_IN_A_ZIP):
        among = {f"cat/{case.name}.jpg": case for case in waiting[start : start + IMAGES_IN_A_ZIP]}
        files = good_files(rng) | {name: case.data for name, case in among.items()}
        response = post_job(client, zip_of(files, 0), QUICK)
        if response.status_code != 202:
            yield from (Answer(c, outcome_of(response), code_of(response)) for c in among.values())
            continue
        job = wait_for(client, f"/jobs/{response.json()['id']}")
        rejected = {r["file"]: r["reason"] for r in (job["dataset"]["rejected"] or [])}
        for name, case in among.items():
            if job["status"] != "succeeded":
                yield Answer(case, "wrong", str(job["error"]))
            else:
                yield Answer(
                    case, "rejected" if name in rejected else "harmless", rejected.get(name, "")
                )
        _forget(client, job)


def images_to_predict(client: httpx.Client, model: str, cases: Iterable[Case]) -> Iterator[Answer]:
    """Send each to POST /predict in a request of its own."""
    for case in cases:
        files = [("images", (case.name, case.data))]
        yield predicted(case, client.post("/predict", data={"model": model}, files=files))


def predicted(case: Case, response: httpx.Response) -> Answer:
    """Return the outcome of a request to classify one image."""
    if response.status_code != 200:
        return Answer(case, outcome_of(response), code_of(response))
    [prediction] = response.json()["predictions"]
    return of_prediction(case, prediction)


def of_prediction(case: Case, prediction: Json) -> Answer:
    """Return the outcome of an image that has a prediction, or an error in its place."""
    error = prediction.get("error")
    return Answer(case, "rejected" if error else "harmless", error["message"] if error else "")


def sound_job(client: httpx.Client, rng: random.Random) -> Json:
    """Tune on valid images; return the ended job, which is not deleted."""
    return run_job(client, zip_of(good_files(rng)), QUICK)


def _ended(client: httpx.Client, case: Case, job_id: str) -> Answer:
    job = wait_for(client, f"/jobs/{job_id}")
    error = job["error"]
    answer = Answer(case, "wrong", f"{job['status']}, attempt {job['attempt']}: {error}")
    if job["attempt"] == 1 and job["status"] == "succeeded":
        rejected = job["dataset"]["rejected"]
        reason = rejected[0]["reason"] if rejected else ""
        answer = Answer(case, "rejected" if rejected else "harmless", reason)
    elif job["attempt"] == 1 and job["status"] == "failed" and error["code"] not in NOT_OURS:
        answer = Answer(case, "failed", error["code"])
    _forget(client, job)
    return answer


def wait_for(client: httpx.Client, where: str) -> Json:
    """Return the job or batch at this path once it has ended."""
    found: list[Json] = []

    def ended() -> bool:
        response = client.get(where)
        if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:  # busy
            return False
        found.append(response.raise_for_status().json())
        return found[-1]["status"] in ENDED

    wait_until(ended, _JOB_SECONDS, f"the end of {where}", _PAUSE_SECONDS)
    return found[-1]


def _forget(client: httpx.Client, job: Json) -> None:
    if job["model_id"]:
        client.delete(f"/models/{job['model_id']}").raise_for_status()
    client.delete(f"/jobs/{job['id']}").raise_for_status()


def outcome_of(response: httpx.Response) -> Outcome:
    """Return the outcome of a response that is no success."""
    return "refused" if 400 <= response.status_code < 500 else "wrong"


def code_of(response: httpx.Response) -> str:
    """Return the status and the code of the problem."""
    try:
        code = response.json()["code"]
    except (ValueError, KeyError, TypeError):
        code = "no problem document"
    return f"{response.status_code} {code}"
