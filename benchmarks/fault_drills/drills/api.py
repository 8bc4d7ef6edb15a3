"""The API is killed."""

from __future__ import annotations

import time

from benchmarks.fault_drills.trial import Drill, Trial

_ANSWER_SECONDS = 0.05  # the API takes this long to store an upload, make the job and enqueue it


def kill_api_in_upload(trial: Trial) -> None:
    # Half of the time during the upload, half of it after, while the job is made.
    share = min(1.0, trial.rng.uniform(0, 2))
    delay = trial.rng.uniform(0, _ANSWER_SECONDS) if share == 1.0 else 0.0
    trial.moment = "upload" if share < 1.0 else "answer"

    def kill() -> None:
        time.sleep(delay)
        trial.stack.api.kill()

    trial.stack.client.post_in_pieces(trial.request(), share, kill)
    trial.stack.start_api()
    trial.post()  # the same request, with the same Idempotency-Key


def kill_api_before_enqueue(trial: Trial) -> None:
    stack = trial.stack
    if trial.rng.random() < 0.5:
        trial.moment = "commit"  # and the API cannot reach the broker
        stack.servers.redis.stop()
        trial.post()
        stack.api.kill()
        stack.servers.redis.start()
    else:
        trial.moment = "answer"
        trial.post()
        time.sleep(trial.rng.uniform(0, _ANSWER_SECONDS))
        stack.api.kill()
    stack.start_api()


DRILLS = (
    Drill(
        "api-upload",
        "kill -9 of the API during an upload, which is then retried",
        kill_api_in_upload,
    ),
    Drill(
        "api-enqueue",
        "kill -9 of the API between accepting a job and enqueuing it",
        kill_api_before_enqueue,
    ),
)
