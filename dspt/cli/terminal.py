"""What the local commands have in common on a terminal: errors, progress, one run of the tuner."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from dspt.config import TuneConfig
from dspt.errors import DatasetError, DsptError

if TYPE_CHECKING:
    from dspt.pipeline import TuneResult

out = Console()
err = Console(stderr=True)


@contextmanager
def errors_shown() -> Iterator[None]:
    """Tell a DsptError on standard error and leave with status 2."""
    try:
        yield
    except DatasetError as error:
        for problem in error.problems:
            where = f"{problem.where}: " if problem.where else ""
            err.print(f"error: {where}{problem.message}", style="red", markup=False)
        raise typer.Exit(2) from error
    except DsptError as error:
        err.print(f"error: {error.message}", style="red", markup=False)
        raise typer.Exit(2) from error


def print_json(document: dict[str, Any]) -> None:
    """One JSON document on standard output, as it is."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def run_tuning(data: Path, class_names: dict[str, str] | None, config: TuneConfig) -> TuneResult:
    """Open the data set and tune on it, with a progress bar on standard error."""
    from dspt.data import open_dataset
    from dspt.pipeline import Listener, tune
    from dspt.pipeline import Progress as Step

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=err) as bar:
        task = bar.add_task("validating", total=1.0, left="")

        class Bar(Listener):
            def progress(self, progress: Step) -> None:
                epoch = f" {progress.epoch}/{progress.epochs}" if progress.epochs else ""
                eta = progress.eta_seconds
                left = "" if eta is None else f"about {eta:.0f} s left"
                bar.update(
                    task,
                    completed=progress.fraction,
                    description=progress.stage.replace("_", "-") + epoch,
                    left=left,
                )

        def validated(done: int, total: int) -> None:
            bar.update(task, description=f"validating {done}/{total}")

        with open_dataset(data, class_names, progress=validated) as dataset:
            for text in dataset.warnings:
                err.print(f"warning: {text}", style="yellow", markup=False)
            for rejected in dataset.rejected:
                err.print(f"left out: {rejected.file}: {rejected.reason}", markup=False)
            result = tune(dataset, config, listener=Bar(), feature_dir=feature_dir())
        bar.update(task, completed=1.0, description="done", left="")
    return result


def feature_dir() -> Path:
    """Where features of images are kept between runs."""
    return Path(platformdirs.user_cache_dir("dspt")) / "features"
