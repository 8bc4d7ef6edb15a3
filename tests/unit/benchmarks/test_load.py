"""`python -m benchmarks.load`: what it sends, what it notes down, what it derives."""

from __future__ import annotations

import asyncio
import os
import random
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from small_server import serving

from benchmarks.load.__main__ import BENCHMARK
from benchmarks.load.listener import Listener
from benchmarks.load.records import POLL_RUNNING, STREAM, Jobs, Records
from benchmarks.load.report import markdown
from benchmarks.load.run import LOAD, sample
from benchmarks.load.summary import UsageSample, figures, goals, percentiles
from benchmarks.load.traffic import alongside, arrivals, due
from benchmarks.sessions import UNANSWERED
from benchmarks.skeleton.program import run
from benchmarks.usage import Usage, usage_of
from tests.services import children_of

MIB = 1 << 20


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentiles(range(1, 101)) == {"p50": 50, "p95": 95, "p99": 99}
    assert percentiles([7.0]) == {"p50": 7, "p95": 7, "p99": 7}
    assert percentiles([1, 2]) == {"p50": 1, "p95": 2, "p99": 2}


def test_arrivals_come_at_random_as_often_as_asked_for() -> None:
    moments = list(arrivals(200, 5, 65, random.Random(1)))
    assert len(moments) == pytest.approx(200 * 60, rel=0.03)
    assert moments == list(arrivals(200, 5, 65, random.Random(1)))
    assert 5 < moments[0] < moments[-1] < 65
    gaps = sorted(b - a for a, b in pairwise(moments))
    assert gaps[len(gaps) // 2] == pytest.approx(0.693 / 200, rel=0.1)  # of an exponential
    assert not list(arrivals(0, 0, 10, random.Random(1)))


def test_what_was_missed_is_sent_at_once_and_nothing_before_its_time() -> None:
    async def scene() -> list[float]:
        now = asyncio.get_running_loop().time()
        offsets = (-0.5, 0.0, 0.05, 0.05, 0.1)
        moments = (now + offset for offset in offsets)
        return [asyncio.get_running_loop().time() - at async for at in due(moments)]

    late = asyncio.run(scene())
    assert late[0] >= 0.5
    assert all(seconds > -0.002 for seconds in late)  # the loop's timers count milliseconds


def test_a_dropped_request_is_not_sent_again() -> None:
    asked = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while head := await reader.readuntil(b"\r\n\r\n"):
            asked += 1
            if b"GET /break" in head:
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def scene() -> None:
        async with serving(handle) as client:
            for _ in range(2):
                async with client.get("/x"):
                    pass
            with pytest.raises(UNANSWERED):
                async with client.get("/break"):
                    pass

    asyncio.run(scene())
    assert asked == 3


def event(number: int, kind: str, data: str, ago: float = 0.0) -> bytes:
    moment = (datetime.now(UTC) - timedelta(seconds=ago)).isoformat().replace("+00:00", "Z")
    line = f'{{"id":{number},"type":"{kind}","created_at":"{moment}","data":{data}}}'
    return f"id: {number}\r\nevent: {kind}\r\ndata: {line}\r\n\r\n".encode()


def test_a_listener_counts_what_is_lost_or_doubled_and_how_late_it_comes() -> None:
    asked: list[int] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        after = int(re.findall(rb"Last-Event-ID: (\d+)", head)[0])
        asked.append(after)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        if after == 0:
            sent = b": ping\r\n\r\n" + event(1, "status", '{"status":"queued"}', ago=60)
            sent += event(2, "metrics", '{"loss":1}') + event(2, "metrics", '{"loss":1}')
        else:
            sent = event(5, "status", '{"status":"succeeded"}')
        for piece in (sent[:40], sent[40:]):  # wherever the network cuts it
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
        if after == 0:
            await reader.read()  # until the listener hangs up
        else:
            writer.write(b"0\r\n\r\n")

    async def scene() -> Records:
        jobs, records = Jobs(), Records(asyncio.get_running_loop().time())
        jobs.note("job_1", "running")
        async with serving(handle) as client:
            listener = Listener(client, jobs, records, random.Random(1), stays=0.3, pause=0)
            task = asyncio.create_task(listener.run())
            while not jobs.ended("job_1"):
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])
        return records

    records = asyncio.run(scene())
    assert asked == [0, 2]
    assert (records.events, records.lost, records.doubled) == (4, 2, 1)  # 3 and 4 never came
    assert len(records.lags) == 3  # the first one happened before the listener asked
    assert all(0 <= lag < 1 for lag in records.lags)
    assert records.statuses[STREAM].total() == records.statuses[STREAM]["200"]


def test_a_state_that_is_heard_of_late_does_not_replace_a_newer_one() -> None:
    jobs = Jobs()
    jobs.note("job_1", "queued")
    jobs.note("job_1", "running", 3)
    jobs.note("job_1", "queued", 1)
    assert jobs.with_status(frozenset({"running"})) == ["job_1"]


def test_memory_and_processor_time_of_a_process() -> None:
    async def scene(pid: int) -> list[UsageSample]:
        samples: list[UsageSample] = []
        begin = asyncio.get_running_loop().time() + 0.1
        task = asyncio.create_task(sample({"part": [pid]}, begin, samples))
        while not samples:
            await asyncio.sleep(0.01)
        task.cancel()
        return samples

    holds_64_mib = "held = b'x' * 2**26; print(len(held), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holds_64_mib], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        parts = asyncio.run(scene(process.pid))[0].parts
        process.kill()
    assert set(parts) == {"part", LOAD}
    assert 64 * MIB < parts["part"].memory < 128 * MIB
    assert parts["part"].cpu_seconds > 0
    assert parts["part"].files > 2


def test_processes_that_end_while_they_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One such race stopped the sampling of memory after 6.4 of 10 minutes, unnoticed."""
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: [*listdir(path), "999999999"])
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert process.pid in children_of(os.getpid())
        assert usage_of([os.getpid()]).processes >= 2
        process.kill()
    assert children_of(process.pid) == []
    with pytest.raises(ProcessLookupError):  # a part of the stack must not end
        usage_of([process.pid])


def test_an_error_alongside_ends_the_run() -> None:
    async def fails() -> None:
        raise FileNotFoundError

    async def scene() -> None:
        async with alongside(fails(), asyncio.sleep(60)):
            await asyncio.sleep(60)

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(scene())
    assert isinstance(caught.value.exceptions[0], FileNotFoundError)


def records_of(latency: float) -> Records:
    records = Records(begin=0.0)
    for number in range(100):
        records.took(POLL_RUNNING, number / 10, number / 10 + latency)
        records.count(POLL_RUNNING, "200", number / 10)
        records.lateness.append(0.001)
    records.took(POLL_RUNNING, -1, 99)  # due before the beginning
    records.count(POLL_RUNNING, "500", -1)
    records.lags.append(0.2)
    records.events, records.looks, records.looks_busy, records.connected = 1, 4, 4, [5, 4, 5]
    return records


def samples_of(*memory: float) -> list[UsageSample]:
    return [
        UsageSample(
            5.0 * number,
            dict.fromkeys(("API", "worker", "Redis"), Usage(int(m * MIB), 1, 0.5, 9, 1)),
        )
        for number, m in enumerate(memory)
    ]


def met(records: Records, samples: list[UsageSample]) -> list[bool]:
    rows = goals(figures(records, samples, 10), {"polls": 10, "listeners": 5})
    return [met for _, _, met in rows]


def test_goals() -> None:
    assert met(records_of(0.09), samples_of(100, 100, 104)) == [True] * 7
    assert met(records_of(0.09), samples_of(2, 5)) == [True] * 7  # a few MiB
    assert (
        met(records_of(0.11), samples_of(100, 100, 106)) == [True, False, True, True] + [False] * 3
    )
    assert met(records_of(0.09), samples_of(100)) == [True] * 4 + [False] * 3  # stopped early
    broken = records_of(0.09)
    broken.lost, broken.looks_busy = 1, 3
    broken.count(POLL_RUNNING, "503", 1)
    assert met(broken, samples_of(100, 100)) == [False, True, False, False, True, True, True]


def test_the_report_has_all_of_it() -> None:
    found = figures(records_of(0.0625), samples_of(100, 110), 10)
    document = {
        "command": "python -m benchmarks.load",
        "machine": {
            "processor": "P",
            "cpus": 2,
            "system": "S",
            "load_before": 0.5,
            "load_after": 2.5,
        },
        "versions": {"PostgreSQL": "17"},
        "settings": {
            "polls": 7,
            "predictions": 1,
            "submits": 3,
            "listeners": 5,
            "stays": 60,
            **dict.fromkeys(("seed", "warm_up", "epochs", "images", "zip_bytes"), 1),
        },
        "figures": found,
    }
    text = markdown(document)
    assert "| poll of a running job | 100 | 62.5 | 62.5 | 62.5 | 62.5 |" in text
    assert "| API | 100 | 110 | 110 | +10.0% |" in text
    assert "sampled for 0.1 minutes" in text
    assert "| polls: p99 under 100 ms | 62 ms | yes |" in text
    assert "load average 0.5 before, 2.5 after" in text


@pytest.mark.parametrize("wrong", [["--minutes", "0"], ["--listeners", "-1"], ["--seed", "x"]])
def test_settings_at_fault(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(BENCHMARK, wrong)
    assert caught.value.code == 2
    assert wrong[0] in capsys.readouterr().err
