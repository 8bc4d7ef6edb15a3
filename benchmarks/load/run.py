"""One measurement: start the stack, warm it up, load it, stop it."""

from __future__ import annotations

import argparse
import asyncio
import gc
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import uvloop
from dspt_client import Client, ClientError, Job
from rich.console import Console

from app.datasets.demo_photos import PHOTOGRAPHS, TRAIN_CROPS, DemoData, make_demo_data
from benchmarks.load.records import Jobs, Records
from benchmarks.load.summary import SECONDS_BETWEEN, UsageSample, figures
from benchmarks.load.traffic import Material, Traffic, alongside
from benchmarks.sessions import session
from benchmarks.skeleton.program import Document, grid_progress
from benchmarks.stack import HOST, MeasuredStack, StackError, running_stack
from benchmarks.usage import usage, usage_of

OnProgress = Callable[[str, float], None]
"""Called with what is being done and the seconds that have been measured."""

LOAD = "load generator"
_FIRST_EPOCHS = 2
_FIRST_SECONDS = 300.0


def measure(options: argparse.Namespace, document: Document, console: Console) -> None:
    # No automatic refresh: a drawing thread would delay the load generator.
    with grid_progress(console, auto_refresh=False) as bar:
        task = bar.add_task("", total=round(60 * options.minutes))

        def on_progress(what: str, seconds: float) -> None:
            bar.update(task, description=what, completed=seconds, refresh=True)

        _measure(options, document, on_progress)


def _measure(options: argparse.Namespace, document: Document, on_progress: OnProgress) -> None:
    on_progress("cropping photos", 0)
    data = make_demo_data(options.seed)
    settings = {
        "DSPT_REQUESTS_PER_MINUTE": "10000000",
        # One that returns counts twice until the API has noticed that it had left.
        "DSPT_MAX_LISTENERS": str(2 * options.listeners),
        "DSPT_PREDICT_ENGINE": options.engine,
    }
    with tempfile.TemporaryDirectory(prefix="dspt-load-") as folder:
        on_progress("starting PostgreSQL, Redis, API and worker", 0)
        with running_stack(
            Path(folder), workers=options.workers, settings=settings, logs=options.logs
        ) as stack:
            document["versions"] |= stack.versions
            on_progress("tuning a first classifier", 0)
            first = _first_job(stack, data)
            try:
                found = uvloop.run(_load(stack, options, data, first, on_progress))
            except (aiohttp.ClientError, ValueError) as error:
                raise StackError(str(error)) from error
    names = ["polls", "predictions", "submits", "listeners", "stays", "pause"]
    names += ["seed", "warm_up", "epochs", "workers", "engine"]
    document["settings"] = {
        **{name: getattr(options, name) for name in names},
        "images": TRAIN_CROPS * len(PHOTOGRAPHS),
        "zip_bytes": len(data.zip),
    }
    document["figures"] = found


async def _load(
    stack: MeasuredStack,
    options: argparse.Namespace,
    data: DemoData,
    first: Job,
    on_progress: OnProgress,
) -> dict[str, Any]:
    loop, seconds = asyncio.get_running_loop(), 60 * options.minutes
    jobs, samples = Jobs(), list[UsageSample]()
    material = Material(data.zip, data.unseen[0].jpeg, options.epochs)
    jobs.note(first.id, first.status)
    headers = {"Authorization": f"Bearer {stack.key}"}
    async with (
        session(HOST, stack.port, headers) as client,
        session(HOST, stack.port, headers, keep_alive=False) as streams,
    ):
        gc.freeze()  # keeps the garbage collector from scanning the photos during the measurement
        records = Records(begin=loop.time() + options.warm_up)
        traffic = Traffic(client, streams, jobs, records, options, material, str(first.model_id))
        for _ in range(options.workers + 1):  # one for each worker, and one that waits
            await traffic.submit()
        async with alongside(
            sample(stack.roots, records.begin, samples),
            _show_time(on_progress, records.begin, seconds),
        ):
            await traffic.run(seconds)
    on_progress("stopping", seconds)
    return figures(records, samples, seconds)


async def sample(
    parts: Mapping[str, Sequence[int]], begin: float, samples: list[UsageSample]
) -> None:
    """Add a sample every few seconds from the loop's time `begin` on, until cancelled.

    `parts`: name -> ids of its first processes. Raises OSError if one of these has ended.
    """
    loop = asyncio.get_running_loop()
    while True:
        number = max(0, round((loop.time() - begin) / SECONDS_BETWEEN + 0.5))
        await asyncio.sleep(begin + number * SECONDS_BETWEEN - loop.time())
        at = loop.time() - begin
        found = await asyncio.to_thread(lambda: {name: usage_of(parts[name]) for name in parts})
        # Without its children: the other parts are among them.
        samples.append(UsageSample(at, found | {LOAD: usage([psutil.Process()])}))


def _first_job(stack: MeasuredStack, data: DemoData) -> Job:
    """Run a job and predict with its model, so that everything is loaded. Raises StackError."""
    photos = stack.folder / "photos.zip"
    photos.write_bytes(data.zip)
    try:
        with Client(stack.url, stack.key) as client:
            job = client.jobs.create(photos, config={"epochs": _FIRST_EPOCHS, "seed": 0})
            job.wait(timeout=_FIRST_SECONDS)
            client.predict(str(job.model_id), [data.unseen[0].jpeg])
    except ClientError as error:
        raise StackError(f"the first job: {error}") from error
    return job


async def _show_time(on_progress: OnProgress, begin: float, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        done = loop.time() - begin
        on_progress("warming up" if done < 0 else "measuring", min(max(0.0, done), seconds))
        await asyncio.sleep(1)
