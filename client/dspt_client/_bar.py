"""Show the progress of a job as a bar on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from dspt_client.schemas.jobs import EventView, JobView


class Bar:
    """A progress bar on standard error; nothing is drawn if that is not a terminal."""

    def __init__(self, title: str = "queued") -> None:
        console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description:<24}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=1.0, left="")

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` items of `stage` are done."""
        self._bar.update(self._task, description=stage, completed=done / (total or 1))

    def show(self, event: EventView) -> None:
        """Show an event of the job."""
        data = event.data
        if event.type == "progress":
            stage = str(data.get("stage", "")).replace("_", "-")
            if data.get("epoch") is not None:
                stage += f", epoch {data['epoch']} of {data.get('epochs')}"
            eta = data.get("eta_seconds")
            left = "" if eta is None else f"about {eta:.0f} s left"
            done = data.get("fraction", 0.0)
            self._bar.update(self._task, description=stage, completed=done, left=left)
        elif event.type == "status":
            status = str(data.get("status", ""))
            done = {"succeeded": 1.0, "queued": 0.0}.get(status)
            self._bar.update(self._task, description=status, completed=done, left="")
        elif event.type == "warning":
            self._bar.console.print(
                f"warning: {data.get('message', '')}", style="yellow", markup=False
            )


def left_out(job: JobView) -> list[str]:
    """Return a line for each file that the job did not use, with the reason."""
    files = job.dataset.rejected or []
    # The last item of a long list has no name: it counts the others.
    return ["left out: " + ": ".join(filter(None, (each.file, each.reason))) for each in files]


def show_left_out(job: JobView) -> None:
    """Print the files that the job did not use to standard error, each with the reason."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for line in left_out(job):
        console.print(line, markup=False)
