"""Print a job that a command has created, and follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.commands._service import INTERRUPTED
from dspt.cli.tables import accuracies
from dspt.cli.terminal import out, print_json, print_stderr

if TYPE_CHECKING:
    from dspt_client import Job

Watch = Annotated[bool, typer.Option("--watch", help="Follow the job until it ends.")]


def follow(job: Job, watch: bool, as_json: bool) -> None:
    """Print which job it is and, with `watch`, follow it and print its results."""
    from dspt_client import JobCancelled, JobFailed

    if not as_json:
        out.print(f"{job.id} is {job.status}.", markup=False)
    if watch:
        try:
            job.wait(progress=not as_json)
        except KeyboardInterrupt as error:
            print_stderr(
                f"{job.id} continues. dspt jobs watch follows it; dspt jobs cancel stops it."
            )
            raise typer.Exit(INTERRUPTED) from error
        except (JobFailed, JobCancelled):
            if as_json:
                print_job(job)
            raise
        if not as_json:
            out.print(f"{job.id} has succeeded.", markup=False)
            results(job)
    if as_json:
        print_job(job)
    elif watch:
        out.print(f"Model: {job.model_id}", markup=False)
        out.print(f"Labels to check: dspt jobs audit {job.id}", markup=False)


def results(job: Job) -> None:
    """Print the accuracies of a job, the reason for what it serves, and what it changed."""
    metrics = job.view.metrics
    if metrics is not None:
        out.print(accuracies(metrics, job.view.config))
        out.print(metrics["why"], markup=False)
    if job.view.change is not None:
        out.print(job.view.change.verdict, markup=False)


def print_job(job: Job) -> None:
    """Print all of a job as JSON."""
    print_json(job.view.model_dump(mode="json"))
