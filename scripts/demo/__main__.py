"""`python -m scripts.demo`: run the main job from upload to prediction on a stack of its own."""

from __future__ import annotations

import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from dspt_client import Client, ClientError
from rich.console import Console

from app.datasets.demo_photos import make_demo_data
from scripts.demo.report import print_accuracy, print_audit, print_data, print_predictions
from scripts.demo.stack import StackError, running_stack


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the service and its page running until Ctrl-C.")
    ] = False,
) -> None:
    """Start the service, tune a classifier on photographs with wrong labels, print the results.

    The stack runs in a temporary folder and on a free port; it is stopped at the end.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):  # by default Python ends without cleaning up
        signal.signal(number, signal.default_int_handler)
    console = Console(highlight=False)
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="dspt-demo-") as folder:
            _demo(console, Path(folder), keep)
    except KeyboardInterrupt:
        console.print("Interrupted; the stack is stopped.")
        raise typer.Exit(130) from None
    except (StackError, ClientError) as error:
        console.print(f"The demo failed: {error}", style="red", markup=False)
        raise typer.Exit(1) from error
    if keep:
        console.print("The stack is stopped.")
        return
    console.print(
        f"Done in {time.monotonic() - started:.0f} s; the stack is stopped. To look at this result "
        "photo by photo in a browser, run\n"
        '  make demo ARGS="--keep"\n'
        "To use the service yourself, start it with\n"
        "  make serve\n"
        "and open its page, http://127.0.0.1:8000/ui/. The API is described at "
        "http://127.0.0.1:8000/docs"
    )


def _demo(console: Console, folder: Path, keep: bool) -> None:
    data = make_demo_data()
    print_data(console, data)
    console.print("Starting the stack ...")
    with (
        running_stack(folder / "data", folder / "serve.log") as address,
        Client(address) as client,
    ):
        (folder / "photos.zip").write_bytes(data.zip)
        job = client.jobs.create(folder / "photos.zip")
        console.print(f"Posted the zip ({len(data.zip) / 1e6:.1f} MB) to {address}/jobs\n")
        job.wait(progress=True)
        assert job.view.metrics is not None
        assert job.model_id is not None
        print_accuracy(console, job.view.metrics)
        print_audit(console, job.audit(), data.planted)
        images = [image.jpeg for image in data.unseen]
        print_predictions(console, client.predict(job.model_id, images).predictions, data)
        if keep:
            console.print(
                f"Review the suspected labels: {address}/ui/#/jobs/{job.id}/review\n"
                f"All jobs and models:         {address}/ui/\n"
                "Ctrl-C stops the stack and deletes its data."
            )
            with suppress(KeyboardInterrupt):
                signal.pause()


if __name__ == "__main__":
    typer.run(demo)
