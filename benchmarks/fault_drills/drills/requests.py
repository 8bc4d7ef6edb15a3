"""Messages and requests that arrive twice, late or at the wrong moment."""

from __future__ import annotations

from benchmarks.fault_drills.client import ENDED
from benchmarks.fault_drills.stack import QUICK_HEARTBEAT, Shape
from benchmarks.fault_drills.trial import Drill, Expected, Trial

_COPIES = 3


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


DRILLS = (
    Drill("duplicates", "each message delivered nine more times, to two workers", deliver_twice),
    Drill(
        "cancel",
        "cancelled when its worker has just died, when the API dies, or without a fault",
        cancel,
        Shape(heartbeat=QUICK_HEARTBEAT),
    ),
)
