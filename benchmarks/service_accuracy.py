"""Accuracy and audit of the running service under planted label noise.

    python -m benchmarks.service_accuracy --data DIR... [--out FILE.json]

Each DIR has train/<class>/ and test/<class>/. From every training part a few shots per class are
drawn, a share of their labels is flipped (symmetric, over the whole few-shot set: NLPrompt's
protocol), and the zip is posted to a service that this command starts, once for each loss. Printed
for each cell: zero-shot and tuned accuracy on the test part, what is served, and the audit's
precision among its first k files, k being the number of flipped labels, beside what chance gives.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from dspt.data import few_shot
from dspt.noise import flip_labels
from scripts.demo.client import Client, ServiceError
from scripts.demo.stack import running_stack


@dataclass(frozen=True)
class Cell:
    """One job. Accuracies are shares of 1."""

    dataset: str
    rate: float
    loss: str
    zero_shot: float
    tuned: float
    served: str
    served_accuracy: float
    flipped: int
    precision_at_k: float | None
    """Share of flipped labels among the audit's first `flipped` files; None without flips."""
    suspects: int
    suspects_right: int
    can_tell: bool
    seconds: float
    """From upload to the job's end."""


def noisy_zip(folder: Path, shots: int, rate: float, seed: int) -> tuple[bytes, set[str]]:
    """Few-shot training part with flipped labels, and the clean test part; the flipped files."""
    classes = sorted(path.name for path in (folder / "test").iterdir())
    files = [
        (p, i) for i, c in enumerate(classes) for p in sorted((folder / "train" / c).iterdir())
    ]
    labels = np.array([label for _, label in files])
    drawn = few_shot(labels, shots, seed)
    flips = flip_labels(labels[drawn], len(classes), rate, "symmetric", "global", seed)
    buffer, flipped = io.BytesIO(), set()
    with zipfile.ZipFile(buffer, "w") as archive:
        for at, (row, given) in enumerate(zip(drawn, flips.labels, strict=True)):
            # The number keeps the name from telling, and two files of one name apart.
            name = f"train/{classes[given]}/{at:05d}{files[row][0].suffix}"
            archive.write(files[row][0], name)
            if given != files[row][1]:
                flipped.add(name)
        for label in classes:
            for path in sorted((folder / "test" / label).iterdir()):
                archive.write(path, f"test/{label}/{path.name}")
    return buffer.getvalue(), flipped


def measure(client: Client, folder: Path, loss: str, args: argparse.Namespace, rate: float) -> Cell:
    """Post one zip, wait for its job, read its result."""
    dataset, flipped = noisy_zip(folder, args.shots, rate, args.seed)
    started = time.monotonic()
    job_id = client.create_job(dataset, {}, {"loss": loss, "seed": args.seed})["id"]
    for _ in client.events(job_id):
        pass  # the stream ends with the job
    job = client.job(job_id)
    if job["status"] != "succeeded":
        raise ServiceError(f"{folder.name}, {rate:.0%}, {loss}: {job['status']}: {job['error']}")
    seconds = time.monotonic() - started
    audit, metrics = client.audit(job_id), job["metrics"]
    first = [entry["file"] for entry in audit["entries"][: len(flipped)]]
    suspects = [entry["file"] for entry in audit["entries"] if entry["suspect"]]
    return Cell(
        dataset=folder.name,
        rate=rate,
        loss=loss,
        zero_shot=metrics["zero_shot"]["accuracy"],
        tuned=metrics["tuned"]["accuracy"],
        served=metrics["served"],
        served_accuracy=metrics[metrics["served"]]["accuracy"],
        flipped=len(flipped),
        precision_at_k=len(flipped & set(first)) / len(flipped) if flipped else None,
        suspects=len(suspects),
        suspects_right=len(flipped & set(suspects)),
        can_tell=audit["can_tell"],
        seconds=seconds,
    )


def table(cells: Sequence[Cell], title: str) -> Table:
    found = Table(title=title)
    for name in ("data", "noise", "loss", "zero-shot", "tuned", "served", "p@k", "suspects", "s"):
        found.add_column(name, justify="left" if name in ("data", "loss", "served") else "right")
    for c in cells:
        right = f"{c.suspects_right}/{c.suspects}" if c.can_tell else "cannot tell"
        at_k = "" if c.precision_at_k is None else f"{c.precision_at_k:.2f}"
        found.add_row(
            c.dataset,
            f"{c.rate:.0%}",
            c.loss,
            f"{c.zero_shot:.1%}",
            f"{c.tuned:.1%}",
            c.served,
            at_k,
            right,
            f"{c.seconds:.0f}",
        )
    found.caption = "p@k by chance equals the noise rate; suspects: flipped ones / all"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="DIR")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.0, 0.25, 0.5])
    parser.add_argument("--losses", nargs="+", default=["ce", "dspt"])
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the figures as JSON here")
    args = parser.parse_args()

    console = Console()
    cells: list[Cell] = []
    with (
        tempfile.TemporaryDirectory(prefix="dspt-benchmark-") as folder,
        running_stack(Path(folder) / "data", Path(folder) / "serve.log") as address,
        Client(address) as client,
    ):
        for data in args.data:
            for rate in args.rates:
                for loss in args.losses:
                    cells.append(measure(client, data, loss, args, rate))
                    console.print(asdict(cells[-1]))
    machine = f"{platform.machine()}, Python {platform.python_version()}, torch {version('torch')}"
    title = f"{args.shots} shots, seed {args.seed}, symmetric noise, builtin; {machine}"
    console.print(table(cells, title))
    if args.out is not None:
        settings = {"machine": machine, "shots": args.shots, "seed": args.seed}
        document = {**settings, "cells": [asdict(cell) for cell in cells]}
        args.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
