"""What a command that runs a grid of cells shows on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dspt.errors import DatasetError, DsptError

INTERRUPTED = 130
"""Exit status: 128 + SIGINT, as shells have it."""
_PROBLEMS_SHOWN = 20


def grid_bar(console: Console) -> Progress:
    """A bar over cells; one takes longer than the half minute that rich estimates speed from."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=console,
        speed_estimate_period=3600,
    )


def tell(console: Console, error: DsptError) -> None:
    """Data or settings at fault: by file, where the error knows."""
    if isinstance(error, DatasetError):
        for problem in error.problems[:_PROBLEMS_SHOWN]:
            console.print(f"{problem.where}: {problem.message}", style="red", markup=False)
    else:
        console.print(error.message, style="red", markup=False)
