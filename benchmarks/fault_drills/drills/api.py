"""The API is killed; messages and requests arrive twice, late or at the wrong moment."""

from __future__ import annotations

import time

from benchmarks.fault_drills.client import ENDED
from benchmarks.fault_drills.stack import QUICK_HEARTBEAT, Shape
from benchmarks.fault_drills.trial import Expected, Trial, drill

_ANSWER_SECONDS = 0.05  # the API takes this long to store an upload, make the job and enqueue it
_COPIES = 3


@drill("api-upload", "kill -9 of the API during an upload, which is then retried")
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


@drill("api-enqueue", "kill -9 of the API between accepting a job and enqueuing it")
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


@drill("duplicates", "each message delivered nine more times, to two workers")
def deliver_twice(trial: Trial) -> None:
    job = trial.post()
    _deliver(trial, job)
    trial.wait_for_moment(job)
    _deliver(trial, job)
    trial.stack.client.until(job, *ENDED, seconds=60)
    _deliver(trial, job)


def _deliver(trial: Trial, job: str) -> None:
    for _ in range(_COPIES):
        trial.stack.deliver(job)


@drill(
    "cancel",
    "cancelled when its worker has just died, when the API dies, or without a fault",
    shape=Shape(heartbeat=QUICK_HEARTBEAT),
)
def cancel(trial: Trial) -> None:
    job = trial.post()
    trial.wait_for_moment(job)
    dies = trial.rng.choice(("worker", "API", None))
    holder = trial.holder(job) if dies == "worker" else None
    if holder is not None:
        holder.kill_children()
        trial.died(job)
    answer = trial.stack.client.send("POST", f"/jobs/{job}/cancel")
    if dies == "API":
        trial.stack.api.kill()
        trial.stack.start_api()
    # Either it was in time and the job is cancelled, or it was too late and the job succeeds.
    in_time = answer.status_code == 202
    if not in_time and answer.json()["code"] != "job_finished":
        trial.wrong.append(f"cancelling {job} was answered with {answer.text}")
    end = "cancelled" if in_time else "succeeded"
    trial.jobs[job] = Expected(ends=(end,), attempts=(0, *trial.any_attempts))
