"""One measurement: the stack is started, warmed up, loaded and stopped."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.http.connection import Client
from benchmarks.load.book import ENDED, Book
from benchmarks.load.material import Material
from benchmarks.load.memory import Look, sample
from benchmarks.load.records import Records
from benchmarks.load.summary import figures
from benchmarks.load.traffic import Rates, Traffic
from benchmarks.stack import HOST, Stack, running_stack
from scripts.demo.data import PHOTOGRAPHS, TRAIN_CROPS, DemoData, make_demo_data

Tell = Callable[[str, float], None]
"""Gets what is being done, and how far that is, 0 to 1."""

_FIRST_EPOCHS = 2
_FIRST_SECONDS = 300.0


class SetupError(Exception):
    """The service does not do what the load needs."""


def measure(options: argparse.Namespace, tell: Tell) -> dict[str, Any]:
    """The document. Raises StackError, SetupError, OSError."""
    tell("cutting photos", 0)
    data = make_demo_data(options.seed)
    rates = Rates(
        polls=options.polls_per_second,
        predictions=options.predictions_per_second,
        submits=options.submits_per_minute,
        listeners=options.listeners,
        stays=options.stays,
        pause=options.pause,
    )
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="dspt-load-") as folder:
        tell("starting PostgreSQL, Redis, API and worker", 0)
        with running_stack(
            Path(folder),
            workers=options.workers,
            settings={
                "DSPT_REQUESTS_PER_MINUTE": str(_requests_per_minute(rates)),
                "DSPT_MAX_LISTENERS": str(options.listeners),
                "DSPT_PREDICT_ENGINE": options.engine,
            },
            logs=options.logs,
        ) as stack:
            found = uvloop.run(_load(stack, options, rates, data, tell))
    return {
        "settings": {
            **asdict(rates),
            "seed": options.seed,
            "warm_up": options.warm_up,
            "epochs": options.epochs,
            "workers": options.workers,
            "engine": options.engine,
            "images": TRAIN_CROPS * len(PHOTOGRAPHS),
            "zip_bytes": len(data.zip),
        },
        "servers": stack.versions,
        "load_before": load_before,
        "load_after": os.getloadavg()[0],
        "figures": found,
    }


async def _load(
    stack: Stack, options: argparse.Namespace, rates: Rates, data: DemoData, tell: Tell
) -> dict[str, Any]:
    loop, seconds = asyncio.get_running_loop(), 60 * options.minutes
    client = Client(HOST, stack.port, {"Authorization": f"Bearer {stack.key}"})
    book, looks = Book(), list[Look]()
    material = Material(data.zip, data.unseen[0].jpeg, options.epochs)
    tell("tuning a first classifier", 0)
    model_id = await _first_model(client, book, material)
    gc.freeze()  # what is there by now need not be looked at again and again meanwhile
    records = Records(begin=loop.time() + options.warm_up)
    traffic = Traffic(client, book, records, rates, material, model_id, options.seed)
    for _ in range(options.workers + 1):  # one for each worker, and one that waits
        await traffic.submit()
    sampler = asyncio.create_task(sample(stack.parts, records.begin, looks))
    teller = asyncio.create_task(_tell_time(tell, records.begin, seconds))
    try:
        await traffic.run(seconds)
    finally:
        for task in (sampler, teller):
            task.cancel()
        await asyncio.gather(sampler, teller, return_exceptions=True)
        client.close()
    tell("stopping", 1)
    return figures(records, looks, seconds)


async def _first_model(client: Client, book: Book, material: Material) -> str:
    """A job that succeeds, and one prediction with its model, so that all is loaded."""
    answer = await client.send(material.job(client, epochs=_FIRST_EPOCHS, seed=0))
    if answer.status != 202:
        raise SetupError(f"POST /jobs: {answer.status} {answer.body.decode()}")
    job = json.loads(answer.body)
    async with asyncio.timeout(_FIRST_SECONDS):
        while job["status"] not in ENDED:
            await asyncio.sleep(0.2)
            answer = await client.send(client.request("GET", f"/jobs/{job['id']}"))
            job = json.loads(answer.body)
    if job["status"] != "succeeded":
        raise SetupError(f"The first job {job['status']}: {job['error']}")
    book.note(job["id"], job["status"])
    model_id: str = job["model_id"]
    answer = await client.send(material.prediction(client, model_id))
    if answer.status != 200:
        raise SetupError(f"POST /predict: {answer.status} {answer.body.decode()}")
    return model_id


async def _tell_time(tell: Tell, begin: float, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        done = loop.time() - begin
        tell("warming up" if done < 0 else "measuring", min(1.0, max(0.0, done / seconds)))
        await asyncio.sleep(1)


def _requests_per_minute(rates: Rates) -> int:
    """Twice what is sent: it is not the limit on one client that is measured."""
    returns = rates.listeners / rates.stays
    each_second = rates.polls + rates.predictions + returns + rates.listeners
    return int(2 * 60 * each_second + rates.submits)
