"""Shared by the local commands: error output, progress bar, one run of the tuner."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from dspt.config import TuneConfig
from dspt.errors import ConfigError, DatasetError, DsptError
from dspt.kit.cpus import set_thread_defaults

if TYPE_CHECKING:
    from dspt.pipeline import TuneResult

#: A pipe or a file gets lines as long as they are, unless COLUMNS is set.
_PIPE_WIDTH = 10_000
#: Between two lines about the progress where no bar is drawn.
LINE_SECONDS = 30.0


def _width() -> int | None:
    return None if sys.stdout.isatty() or os.environ.get("COLUMNS") else _PIPE_WIDTH


out = Console(highlight=False, width=_width())
err = Console(stderr=True, highlight=False)


class Bar(Progress):
    """A progress bar on standard error. In a pipe or a file, a line every half minute instead."""

    def __init__(self, *columns: ProgressColumn, transient: bool = False) -> None:
        super().__init__(*columns, console=err, transient=transient)
        self._next_line = time.monotonic() + LINE_SECONDS

    def advance_to(self, task: TaskID, completed: float, description: str, **fields: Any) -> None:
        """Show how far the task is. fields: further ones of `Progress.update`."""
        self.update(task, completed=completed, description=description, **fields)
        if not err.is_terminal and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_SECONDS
            shown = self.tasks[task]
            print_stderr(f"{description}: {shown.percentage:.0f}% {fields.get('left', '')}".strip())


@contextmanager
def errors_shown(data: Path | None = None) -> Iterator[None]:
    """Print a DsptError to standard error and exit with status 2.

    data: path shown for a problem that concerns the whole data set.
    """
    try:
        yield
    except DatasetError as error:
        for problem in error.problems:
            print_stderr(f"error: {problem.where or data}: {problem.message}", "red")
        raise typer.Exit(2) from error
    except DsptError as error:
        print_stderr(f"error: {error.message}", "red")
        raise typer.Exit(2) from error


def print_stderr(text: str, style: str = "none") -> None:
    """Print a line to standard error, not wrapped, so that a path in it can be copied."""
    err.print(text, style=style, markup=False, soft_wrap=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Convert an OSError while writing `path` to a ConfigError."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def check_writable(path: Path) -> None:
    """Create the folder of `path`. Raises ConfigError if `path` cannot be written."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass


def keep_corrections(path: Path, command: str) -> None:
    """Raise ConfigError if `path` is an audit's table with corrections, so it is not overwritten.

    command: option or command that accepts such a table.
    """
    from dspt.labels.audit_csv import has_corrections

    if path.is_file() and has_corrections(path.read_bytes()):
        raise ConfigError(
            f"{path}: contains corrections and is not overwritten. Choose another file for --csv, "
            f"or pass this one to {command}"
        )


def print_json(document: dict[str, Any] | list[Any]) -> None:
    """Print one JSON document to standard output."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def run_tuning(
    data: Path,
    class_names: dict[str, str] | None,
    config: TuneConfig,
    corrections: Sequence[Path] = (),
) -> TuneResult:
    """Load the data set, apply the corrections and tune, with a progress bar on standard error."""
    set_thread_defaults()
    from dspt.backbones.architectures import check_name
    from dspt.data import load_dataset
    from dspt.kit.progress import Listener
    from dspt.kit.progress import Progress as Step
    from dspt.labels.audit_csv import corrections_from_csv

    if not config.backbone_is_a_place:
        check_name(config.backbone)  # before all photos are decoded
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Bar(*columns) as bar:
        task = bar.add_task("validating", total=1.0, left="")

        class Shown(Listener):
            def progress(self, progress: Step) -> None:
                epoch = f" {progress.epoch}/{progress.epochs}" if progress.epochs else ""
                eta = progress.eta_seconds
                left = "" if eta is None else f"about {eta:.0f} s left"
                stage = progress.stage.replace("_", "-") + epoch
                bar.advance_to(task, progress.fraction, stage, left=left)

            def warning(self, text: str) -> None:
                print_stderr(f"warning: {text}", "yellow")

        def validated(done: int, total: int) -> None:
            bar.advance_to(task, 0, f"validating {done}/{total}")

        with load_dataset(data, class_names, progress=validated) as dataset:
            for path in corrections:
                table = path.read_bytes()
                dataset = corrections_from_csv(table, path.name, dataset.classes).apply(dataset)
            for text in dataset.warnings:
                print_stderr(f"warning: {text}", "yellow")
            for rejected in dataset.rejected:
                print_stderr(f"left out: {rejected.file}: {rejected.reason}")
            # Imported here because torch takes seconds to import and most errors are in the data.
            from dspt.kit.light_torch import import_light

            import_light()
            from dspt.pipeline import tune

            result = tune(dataset, config, listener=Shown(), feature_dir=feature_dir())
        bar.update(task, completed=1.0, description="done", left="")
    return result


def feature_dir() -> Path:
    """Return the folder of the image feature cache."""
    return Path(platformdirs.user_cache_dir("dspt")) / "features"
