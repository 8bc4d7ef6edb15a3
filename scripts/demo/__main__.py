"""`python -m scripts.demo`: the main job from upload to prediction, on a stack of its own."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from scripts.demo.client import Client, ServiceError
from scripts.demo.data import make_demo_data
from scripts.demo.report import print_accuracy, print_audit, print_data, print_predictions
from scripts.demo.stack import StackError, running_stack


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):  # by default Python ends without cleaning up
        signal.signal(number, signal.default_int_handler)
    console = Console(highlight=False)
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="dspt-demo-") as folder:
            _demo(console, Path(folder))
    except KeyboardInterrupt:
        console.print("Interrupted; the stack is stopped.")
        return 130
    except (StackError, ServiceError, httpx.HTTPError) as error:
        console.print(f"The demo failed: {error}", style="red", markup=False)
        return 1
    console.print(
        f"Done in {time.monotonic() - started:.0f} s; the stack is stopped. "
        "To use the service yourself, start it with\n"
        "  make serve\n"
        "and read the documentation of its API at http://127.0.0.1:8000/docs"
    )
    return 0


def _demo(console: Console, folder: Path) -> None:
    data = make_demo_data()
    print_data(console, data)
    console.print("Starting the stack ...")
    with (
        running_stack(folder / "data", folder / "serve.log") as address,
        Client(address) as client,
    ):
        job = client.create_job(data.zip, dict(data.class_names), config={})
        console.print(f"Posted the zip ({len(data.zip) / 1e6:.1f} MB) to {address}/jobs\n")
        _follow(console, client, job["id"])
        job = client.job(job["id"])
        if job["status"] != "succeeded":
            raise ServiceError(_why_not(job))
        for warning in job["warnings"]:
            console.print(f"Warning: {warning}", markup=False)
        print_accuracy(console, job["metrics"])
        print_audit(console, client.audit(job["id"]), data.planted)
        images = [(image.name, image.jpeg) for image in data.unseen]
        print_predictions(console, client.predict(job["model_id"], images), data)


def _follow(console: Console, client: Client, job_id: str) -> None:
    """Show a bar with stage, epoch and time left until the job has ended."""
    bar = Progress(
        TextColumn("{task.description:<24}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[left]}"),
        console=console,
    )
    with bar:
        task = bar.add_task("queued", total=1.0, left="")
        for kind, event in client.events(job_id):
            if kind == "progress":
                stage = event["stage"].replace("_", "-")
                if event["epoch"] is not None:
                    stage += f", epoch {event['epoch']} of {event['epochs']}"
                eta = event["eta_seconds"]
                left = "" if eta is None else f"{eta:.0f} s left"
                bar.update(task, description=stage, completed=event["fraction"], left=left)
            elif kind == "status" and event["status"] == "succeeded":
                bar.update(task, description="done", completed=1.0, left="")
    console.print()


def _why_not(job: dict[str, Any]) -> str:
    if job["error"] is None:
        return f"the job has {job['status']}"
    problems = [f"\n  {p['where']}: {p['message']}" for p in job["error"]["problems"]]
    return f"the job has {job['status']}: {job['error']['message']}{''.join(problems)}"


if __name__ == "__main__":
    sys.exit(main())
