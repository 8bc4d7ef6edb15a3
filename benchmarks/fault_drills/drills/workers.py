"""Workers die."""

from __future__ import annotations

from benchmarks.fault_drills.trial import Drill, Trial


def kill_child(trial: Trial) -> None:
    job = trial.post(attempts=(1, 2))
    trial.wait_for_moment(job)
    holder = trial.holder(job)
    (holder or trial.rng.choice(trial.stack.workers)).kill_children()
    if holder is not None:
        trial.died(job)


def kill_worker(trial: Trial) -> None:
    job = trial.post(attempts=(1, 2))
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


DRILLS = (
    Drill("kill-child", "kill -9 of the process that runs the job", kill_child),
    Drill("kill-worker", "kill -9 of a worker, alone or with its child; a new one", kill_worker),
)
