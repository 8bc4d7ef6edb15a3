"""What the local commands have in common on a terminal: errors, progress, one run of the tuner."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from dspt.config import TuneConfig
from dspt.errors import ConfigError, DatasetError, DsptError
from dspt.kit.cpus import set_thread_defaults

if TYPE_CHECKING:
    from dspt.pipeline import TuneResult

#: A pipe or a file gets lines as long as they are, unless COLUMNS is set.
_PIPE_WIDTH = 10_000


def _width() -> int | None:
    return None if sys.stdout.isatty() or os.environ.get("COLUMNS") else _PIPE_WIDTH


out = Console(highlight=False, width=_width())
err = Console(stderr=True, highlight=False)


@contextmanager
def errors_shown(data: Path | None = None) -> Iterator[None]:
    """Tell a DsptError on standard error and leave with status 2.

    `data` is named where a problem is the data set's as a whole.
    """
    try:
        yield
    except DatasetError as error:
        for problem in error.problems:
            say(f"error: {problem.where or data}: {problem.message}", "red")
        raise typer.Exit(2) from error
    except DsptError as error:
        say(f"error: {error.message}", "red")
        raise typer.Exit(2) from error


def say(text: str, style: str = "none") -> None:
    """A line on standard error. Not wrapped, so that a path in it can be copied and searched."""
    err.print(text, style=style, markup=False, soft_wrap=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write `path` into a ConfigError that names it."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def check_writable(path: Path) -> None:
    """Raise ConfigError now rather than after the tuning if `path` cannot be written."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass


def keep_corrections(path: Path, hand_in: str) -> None:
    """Raise ConfigError if writing an audit's table to `path` would lose what somebody filled in.

    `hand_in` is what takes a table that is filled in.
    """
    from dspt.labels.audit_csv import has_corrections

    if path.is_file() and has_corrections(path.read_bytes()):
        raise ConfigError(
            f"{path}: holds corrections that somebody filled in; name another file for --csv, "
            f"and hand this one to {hand_in}"
        )


def print_json(document: dict[str, Any] | list[Any]) -> None:
    """One JSON document on standard output, as it is."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def run_tuning(
    data: Path,
    class_names: dict[str, str] | None,
    config: TuneConfig,
    corrections: Sequence[Path] = (),
) -> TuneResult:
    """Open the data set, correct it and tune on it, with a progress bar on standard error."""
    set_thread_defaults()
    from dspt.data import load_dataset
    from dspt.kit.progress import Listener
    from dspt.kit.progress import Progress as Step
    from dspt.labels.audit_csv import corrections_from_csv

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

            def warning(self, text: str) -> None:
                say(f"warning: {text}", "yellow")

        def validated(done: int, total: int) -> None:
            bar.update(task, description=f"validating {done}/{total}")

        with load_dataset(data, class_names, progress=validated) as dataset:
            for path in corrections:
                table = path.read_bytes()
                dataset = corrections_from_csv(table, path.name, dataset.classes).apply(dataset)
            for text in dataset.warnings:
                say(f"warning: {text}", "yellow")
            for rejected in dataset.rejected:
                say(f"left out: {rejected.file}: {rejected.reason}")
            # Not earlier: torch takes seconds to import, and most mistakes are in the data.
            from dspt.pipeline import tune

            result = tune(dataset, config, listener=Bar(), feature_dir=feature_dir())
        bar.update(task, completed=1.0, description="done", left="")
    return result


def feature_dir() -> Path:
    """Where features of images are kept between runs."""
    return Path(platformdirs.user_cache_dir("dspt")) / "features"
