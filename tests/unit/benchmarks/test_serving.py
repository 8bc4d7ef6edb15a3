"""`python -m benchmarks.serving`: what its clients do and note down, and what is derived."""

from __future__ import annotations

import asyncio
import io
import json
import math
import os
import random
import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from PIL import Image
from small_server import serving

from app.predictions.settings import PredictionSettings
from benchmarks.serving.bench import cpu_ms, failed, row, service_settings
from benchmarks.serving.clients import Order, Outcome, Run
from benchmarks.serving.photos import SIZE, make_photos, tiny_png
from benchmarks.serving.report import goals, losses, markdown, parts
from benchmarks.skeleton.child import Child
from benchmarks.skeleton.program import BenchmarkError
from benchmarks.usage import Usage

Answer = tuple[int, dict[str, str], dict[str, Any]]
Service = Callable[[str, str, bytes], Answer]
"""Method, path and body of a request to what is answered."""


def outcome_of(
    order: Order, service: Service, work: Callable[[], Awaitable[None]] | None = None
) -> Outcome:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, path, _ = head.split(" ", 2)
            length = re.search(r"(?i)content-length: (\d+)", head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            if work is not None:
                await work()
            status, headers, content = service(method, path, body)
            data = json.dumps(content, separators=(",", ":")).encode()
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            start = f"HTTP/1.1 {status} X\r\n{lines}Content-Length: {len(data)}\r\n\r\n"
            writer.write(start.encode() + data)
            await writer.drain()

    async def run() -> Outcome:
        async with serving(handle) as client:
            files = [b"file one", b"file two"]
            return await Run(client, order, files, random.Random(1)).all()

    return asyncio.run(run())


def predictions(model: str, labels: list[str], **more: Any) -> Answer:
    top = [{"label": label, "score": 0.5} for label in labels]
    entry = {"file": "photo.jpg", "label": labels[0], "score": 0.5, "top": top} | more
    return 200, {}, {"model": model, "predictions": [entry]}


def test_clients_ask_again_until_the_time_is_over() -> None:
    def service(method: str, path: str, body: bytes) -> Answer:
        assert (method, path) == ("POST", "/predict")
        assert b'name="model"\r\n\r\nm1\r\n' in body
        assert body.count(b"file ") == 1
        return predictions("m1", ["cat"])

    started = time.perf_counter()
    found = outcome_of(Order(3, 1, ["m1"], seconds=0.2, warm_up=0.1), service)
    elapsed = time.perf_counter() - started
    count = found.statuses["200"]
    assert count == len(found.latencies) > 6
    assert 0 < found.seconds < elapsed
    assert found.images_per_second > count / elapsed
    assert failed(found) == 0


def test_a_first_batch_that_began_before_the_measurement_does_not_count() -> None:
    all_of_them = asyncio.Barrier(4)
    batch_seconds = 0.2

    async def batch() -> None:
        async with all_of_them:
            await asyncio.sleep(batch_seconds)

    order = Order(4, 1, ["m"], seconds=1.5 * batch_seconds, warm_up=0.5 * batch_seconds)
    found = outcome_of(order, lambda *_: predictions("m", ["cat"]), batch)
    assert 0 < found.images_per_second <= 4 / batch_seconds


def test_each_model_once_in_turn() -> None:
    asked = []

    def service(method: str, path: str, body: bytes) -> Answer:
        asked.append(body.split(b"\r\n\r\n")[1].split(b"\r\n")[0].decode())
        return predictions("m", ["cat"])

    models = [f"m{number}" for number in range(10)]
    outcome_of(Order(clients=2, images=1, models=models), service)
    assert sorted(asked) == sorted(models)


def test_what_is_no_prediction_counts_as_failed() -> None:
    answers: list[Answer] = [
        predictions("m", ["cat"], error={"code": "x"}),  # an image that was not read
        (200, {}, {"model": "m", "predictions": []}),
        (500, {}, {}),
        (503, {"Retry-After": "0.01"}, {}),
        (503, {}, {}),
    ]
    left = iter(answers)

    def service(method: str, path: str, body: bytes) -> Answer:
        return next(left)

    found = outcome_of(Order(1, 1, ["m"] * len(answers)), service)
    assert found.statuses == {"200": 2, "500": 1, "503": 2}
    assert (found.wrong, found.told_when, failed(found)) == (2, 1, 5)
    assert found.latencies == []


def test_processor_time_of_each_image() -> None:
    before, after = (Usage(1 << 20, cpu, 0, 1, 1, cpu / 4) for cpu in (10.0, 12.0))
    outcome = Outcome(
        seconds=2, images_per_second=100, latencies=[0.01], statuses={"200": 200}, cpu_seconds=0.1
    )
    outcome.before, outcome.after = {"API": before}, {"API": after}
    expected = {"API": 10.0, "API, event loop": 2.5, "clients": 0.5}
    assert cpu_ms(outcome) == pytest.approx(expected)
    assert row(outcome)["api_mib"] == 1


def test_the_clients_of_one_key_may_fill_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in service_settings(["builtin"], threads=2, models=1).items():
        monkeypatch.setenv(name, value)
    settings = PredictionSettings()
    assert settings.waiting_images_per_key == settings.max_waiting_images


def test_photos_are_jpegs_of_the_size() -> None:
    photos = make_photos(3, seed=1)
    assert photos == make_photos(3, seed=1)
    assert len(set(photos)) == 3
    for photo in photos:
        with Image.open(io.BytesIO(photo)) as image:
            assert (image.format, image.size) == ("JPEG", SIZE)
    assert tiny_png().startswith(b"\x89PNG")


def test_a_child_answers_and_tells_what_failed() -> None:
    with Child("roots", partial, math.sqrt) as child:
        assert child.call("__call__", 16) == 4
        with pytest.raises(BenchmarkError, match=r"(?s)roots: .*math domain error"):
            child.call("__call__", -1)
        assert child.call("__call__", 4) == 2  # it goes on
    with (
        Child("a process", partial, os._exit) as child,
        pytest.raises(BenchmarkError, match="a process: its process ended with exit status 3"),
    ):
        child.call("__call__", 3)


def speed(rate: float, **more: Any) -> dict[str, Any]:
    times = {"p50": 0.1, "p95": 0.2, "p99": 0.3}
    cpu = {"API": 10.0, "API, event loop": 1.0, "clients": 0.3}
    common = {"failed": 0, "requests": 100, "statuses": {"200": 100}, "cpu_ms": cpu}
    return {"images_per_second": rate, "api_mib": 900.0} | times | common | more


def document() -> dict[str, Any]:
    alone = {"engine": "openvino", "images_per_second": 100.0, "cpu_ms": 6.0}
    best = alone | {"batch": 32}
    rounds = [{str(n): speed(90 - i) for i, n in enumerate((1, 100, 1000))} for _ in range(3)]
    return {
        "command": "python -m benchmarks.serving",
        "machine": {
            "processor": "a CPU",
            "cpus": 2,
            "system": "Linux",
            "load_before": 0.1,
            "load_after": 2.0,
        },
        "versions": {"Python": "3.11"},
        "settings": {"seconds": 8.0, "threads": 2, "seed": 1},
        "photos": {"mean_bytes": 44_000.0},
        "backbones": {
            "builtin": {
                "raw": {
                    "batches": [best],
                    "best": best,
                    "decode": alone | {"cpu_ms": 2.0},
                    "both": alone | {"images_per_second": 80.0},
                },
                "service": [{"clients": 1, "images": 1, **speed(40)}],
                "left_out": [{"clients": 64, "images": 16}],
                "pairs": [speed(r, ratio=r / 100) for r in (88.0, 92.0, 95.0)],
            }
        },
        "residents": {
            "rounds": rounds,
            "classes": 12,
            "memory": [{"models": n, "mib": 900.0} for n in (1, 100, 1000)],
        },
        "beside_a_job": {name: speed(50) for name in ("before", "beside", "after")},
        "pressure": {
            "64": speed(80, refused=0, told_when=0),
            "256": speed(79, refused=500, told_when=500, failed=500),
        },
    }


def test_goals_and_the_bottleneck() -> None:
    found = document()
    assert [met for _, _, met in goals(found)] == [True] * 3
    assert losses(found["residents"])["1000"]["median"] == pytest.approx(2 / 90)
    assert parts(found["backbones"]["builtin"]) == pytest.approx(
        {
            "tower": 6.0,
            "JPEG to crop": 2.0,
            "HTTP (event loop)": 1.0,
            "threads and batches": 1.0,
            "clients": 0.3,
        }
    )


@pytest.mark.parametrize(
    ("number", "spoil"),
    [
        (0, lambda d: d["backbones"]["builtin"]["pairs"][1].update(ratio=0.5)),
        (1, lambda d: [r["1000"].update(images_per_second=80.0) for r in d["residents"]["rounds"]]),
        (2, lambda d: d["pressure"]["256"].update(told_when=499)),
        (2, lambda d: d["pressure"]["256"].update(images_per_second=40.0)),
    ],
)
def test_goals_that_are_not_met(number: int, spoil: Callable[[Any], object]) -> None:
    found = document()
    spoil(found)
    if number == 0:
        found["backbones"]["builtin"]["pairs"] = found["backbones"]["builtin"]["pairs"][:2]
    assert [met for _, _, met in goals(found)] == [index != number for index in range(3)]


def test_the_report_says_what_is_there_by_then() -> None:
    found = document()
    text = markdown(found)
    assert "**0.92 of the tower** (median of 3 pairs; 0.88 to 0.95)" in text
    assert "The bottleneck: tower." in text
    assert "| 1,000 | 88.0 88.0 88.0 | +2.2% | 900 |" in text
    assert "| while a job is tuned |" in text
    found["residents"]["rounds"][0]["1"] = speed(0)  # no answer in time
    assert "| 1,000 | 88.0 88.0 88.0 | +2.2% | 900 |" in markdown(found)
    early = {name: found[name] for name in ("command", "machine", "versions", "settings", "photos")}
    early |= {"backbones": {"builtin": {"classes": 12}}, "interrupted": True}
    assert "Interrupted" in markdown(early)
