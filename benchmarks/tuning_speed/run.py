"""All cases one after the other, told and written."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.tuning_speed import report
from benchmarks.tuning_speed.cli import GROWTH, steps_for
from benchmarks.tuning_speed.growth import GrowthRow
from benchmarks.tuning_speed.measure import Settings, measure_case, measure_growth
from benchmarks.tuning_speed.setup import write_photos
from dspt.kit.device import resolve_device, tuning_dtype


def run(options: argparse.Namespace) -> None:
    """Measure, print, write. Raises ConfigError, WorkerError."""
    device = resolve_device(options.device)
    precisions = ["float32"]
    if options.precision == "both" and tuning_dtype("auto", device) is not None:
        precisions.append("bfloat16")
    if device.type == "cuda":
        memory = torch.cuda.mem_get_info(device)[0] // 2
    else:
        memory = _available_memory() // 2
    results: report.Results = {}
    growth: list[GrowthRow] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console()
    before = report.machine(device.type)
    with (
        tempfile.TemporaryDirectory(prefix="dspt-tuning-speed-") as folder,
        Progress(*columns, TimeElapsedColumn(), console=console) as bar,
    ):
        write_photos(Path(folder), options.seed)
        settings = Settings(
            device.type,
            Path(folder),
            options.n_ctx,
            options.seed,
            options.lr,
            memory,
            tuple(precisions),
        )
        total = len(options.backbones) * len(options.classes) + (not options.quick)
        task = bar.add_task("", total=total)
        for backbone in options.backbones:
            results[backbone] = []
            for classes in options.classes:
                name = f"{backbone}, {classes} classes"

                def tell(what: str, name: str = name) -> None:
                    bar.update(task, description=f"{name}: {what}")

                steps = steps_for(classes, options.steps)
                results[backbone] += measure_case(settings, backbone, classes, steps, tell)
                bar.advance(task)
        if not options.quick:
            bar.update(task, description="growth with the number of classes")
            growth = measure_growth(settings, options.backbones[0], list(GROWTH), rounds=3)
            bar.advance(task)
    command = shlex.join(["python", "-m", "benchmarks.tuning_speed", *sys.argv[1:]])
    told = {"device": device.type, "n_ctx": options.n_ctx, "seed": options.seed, "lr": options.lr}
    document = report.document(command, told, results, growth) | {"machine": before}
    text = report.markdown(document, results, growth)
    print(text)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(document, indent=1) + "\n")
        options.out.with_suffix(".md").write_text(text)
        print(f"Written: {options.out} and {options.out.with_suffix('.md')}")


def _available_memory() -> int:
    """Bytes that new processes may take; all of the machine's where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    sizes = {name: int(rest.split()[0]) for name, rest in (line.split(":") for line in lines)}
    return sizes["MemAvailable"] * 1024
