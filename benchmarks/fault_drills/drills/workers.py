"""Workers are killed."""

from __future__ import annotations

from functools import partial

from benchmarks.fault_drills.stack import QUICK_HEARTBEAT, Shape
from benchmarks.fault_drills.trial import Drill, Expected, Trial
from tests.services import wait_until

_SHAPE = Shape(heartbeat=QUICK_HEARTBEAT)


def kill_child(trial: Trial) -> None:
    job = trial.post(attempts=trial.any_attempts)
    trial.wait_for_moment(job)
    holder = trial.holder(job)
    (holder or trial.rng.choice(trial.stack.workers)).kill_children()
    if holder is not None:
        trial.died(job)


def kill_worker(trial: Trial) -> None:
    job = trial.post(attempts=trial.any_attempts)
    trial.wait_for_moment(job)
    holder = trial.holder(job)
    victim = holder or trial.rng.choice(trial.stack.workers)
    alone = trial.rng.random() < 0.5
    if alone:
        trial.bereaved += victim.children()
    victim.kill(with_children=not alone)
    if holder is not None:
        trial.died(job)
    victim.start()


def poison(trial: Trial) -> None:
    job = trial.post()
    attempts = trial.any_attempts
    trial.jobs[job] = Expected(ends=("failed",), attempts=attempts[-1:], error="worker_lost")
    trial.moment = "each attempt"
    for attempt in attempts:
        wait_until(partial(_taken, trial, job, attempt), 60, f"attempt {attempt}")
        holder = trial.holder(job)
        assert holder is not None, "the job ended before its worker could be killed"
        holder.kill_children()
        trial.died(job)


def _taken(trial: Trial, job: str, attempt: int) -> bool:
    found = trial.stack.client.job(job)
    return bool(found["status"] != "queued" and found["attempt"] >= attempt)


DRILLS = (
    Drill("kill-child", "kill -9 of the process that runs the job", kill_child, _SHAPE),
    Drill(
        "kill-worker",
        "kill -9 of a worker, alone or with its child; a new one is started",
        kill_worker,
        _SHAPE,
    ),
    Drill("poison", "a job whose worker is killed at each attempt: fails after 3", poison, _SHAPE),
)
