"""Metrics of several processes as those of one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from app.kit.http.errors import ServiceUnavailable
from app.metrics import siblings
from app.metrics.report import Report
from app.metrics.siblings import Siblings, joined


def registry(amount: int) -> CollectorRegistry:
    """One of each kind of metric, with `amount` in it."""
    found = CollectorRegistry()
    counter = Counter("requests", 'With "quotes" and \\.', ["route", "status"], registry=found)
    counter.labels('/a"b\n', "200").inc(amount)
    Histogram("seconds", "Text.", buckets=(1, 10), registry=found).observe(amount)
    Gauge("waiting", "Text.", registry=found).set(amount)
    Gauge("loop_timestamp_seconds", "Text.", registry=found).set(amount)
    Gauge("process_start_time_seconds", "Text.", registry=found).set(amount)
    return found


def values(text: bytes) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_the_metrics_of_one_process_stay_as_they_are() -> None:
    text = generate_latest(registry(3))
    assert values(joined([text])) == values(text)
    types = {family.name: family.type for family in text_string_to_metric_families(text.decode())}
    kept = text_string_to_metric_families(joined([text]).decode())
    assert {family.name: family.type for family in kept} == types


def test_amounts_are_added_and_times_are_not() -> None:
    one, other = generate_latest(registry(3)), generate_latest(registry(20))
    found = values(joined([one, other]))
    assert found["requests_total", '/a"b\n', "200"] == found["waiting",] == 23
    assert found["seconds_bucket", "10.0"] == 1
    assert (found["seconds_count",], found["seconds_sum",]) == (2, 23)
    assert found["loop_timestamp_seconds",] == 20
    assert found["process_start_time_seconds",] == 3
    created = values(one)["requests_created", '/a"b\n', "200"]
    assert found["requests_created", '/a"b\n', "200"] == created


def test_each_process_answers_for_all(tmp_path: Path) -> None:
    async def ask() -> list[bytes]:
        reports = [Report(registry(n), tmp_path / f"{n}.sock", 3) for n in (1, 2, 4)]
        async with reports[0].open(), reports[1].open(), reports[2].open():
            return [await report.text() for report in reports]

    assert [values(text)["waiting",] for text in asyncio.run(ask())] == [7, 7, 7]
    assert list(tmp_path.iterdir()) == []


def test_without_one_of_them_there_are_no_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(siblings, "_PATIENCE_SECONDS", 0.1)

    async def ask() -> None:
        report = Report(registry(1), tmp_path / "1.sock", 2)
        async with report.open():
            await report.text()

    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(tmp_path / "2.sock"))
        hanging.listen()
        with pytest.raises(ServiceUnavailable, match="report their metrics"):
            asyncio.run(ask())


@asynccontextmanager
async def other_process(path: Path, text: bytes) -> AsyncIterator[None]:
    """Answers each connection with `text`."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        writer.close()

    async with await asyncio.start_unix_server(answer, path):
        yield


async def own() -> bytes:
    return b""


@pytest.mark.parametrize("text", [b"", generate_latest(registry(1))])
def test_an_answer_that_is_cut_short_does_not_count(tmp_path: Path, text: bytes) -> None:
    async def ask() -> None:
        others = Siblings(tmp_path / "1.sock", 2, own)
        async with other_process(tmp_path / "2.sock", text):
            await others.texts()

    with pytest.raises(ServiceUnavailable, match="report their metrics"):
        asyncio.run(ask())


def test_a_process_that_is_not_there_is_missing(tmp_path: Path) -> None:
    others = Siblings(tmp_path / "1.sock", 2, own)
    with pytest.raises(ServiceUnavailable, match="report their metrics"):
        asyncio.run(others.texts())


def test_nothing_is_read_any_more_once_one_process_fails(tmp_path: Path) -> None:
    async def ask() -> None:
        others = Siblings(tmp_path / "1.sock", 3, own)
        with pytest.raises(ServiceUnavailable, match="report their metrics"):
            await others.texts()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with socket.socket(socket.AF_UNIX) as hanging, socket.socket(socket.AF_UNIX) as closed:
        for name, each in (("2.sock", hanging), ("3.sock", closed)):
            each.bind(str(tmp_path / name))
        hanging.listen()
        asyncio.run(ask())
