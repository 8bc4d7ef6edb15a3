"""Workers are killed."""

from __future__ import annotations

from benchmarks.fault_drills.client import ENDED
from benchmarks.fault_drills.stack import QUICK_HEARTBEAT, Shape
from benchmarks.fault_drills.trial import Expected, Trial, drill
from tests.services import wait_until

_SHAPE = Shape(heartbeat=QUICK_HEARTBEAT)


@drill("kill-child", "kill -9 of the process that runs the job", shape=_SHAPE)
def kill_child(trial: Trial) -> None:
    job = trial.post(attempts=trial.any_attempts)
    trial.wait_for_moment(job)
    holder = trial.holder(job)
    (holder or trial.rng.choice(trial.stack.workers)).kill_children()
    if holder is not None:
        trial.died(job)


@drill(
    "kill-worker",
    "kill -9 of a worker, alone or with its child; a new one is started",
    shape=_SHAPE,
)
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


@drill("poison", "a job whose worker is killed at each attempt: fails after 3", shape=_SHAPE)
def poison(trial: Trial) -> None:
    job = trial.post()
    attempts = trial.any_attempts[-1:]
    trial.jobs[job] = Expected(ends=("failed",), attempts=attempts, error="worker_lost")
    trial.moment = "each attempt"
    killed = 0
    while not _ended(trial, job, killed):
        holder = trial.stack.takers(job)[-1]
        holder.kill_children()
        trial.died(job)
        killed += 1


def _ended(trial: Trial, job: str, killed: int) -> bool:
    """Wait for the end of the job, or for one more worker to take it; return which."""
    ended = False

    def either() -> bool:
        nonlocal ended
        ended = trial.stack.client.job(job)["status"] in ENDED
        return ended or len(trial.stack.takers(job)) > killed

    wait_until(either, 60, "the job to be taken or to end")
    return ended
