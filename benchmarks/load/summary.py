"""From what was recorded to figures: percentiles, growth, goals."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.load.records import POLL_ENDED, POLL_RUNNING, Records
from benchmarks.skeleton.report import Goal
from benchmarks.usage import Usage

MIB = 1 << 20
#: The goals, on two cores.
MOST_P99 = 0.100
MOST_GROWTH, MOST_GROWTH_MIB = 0.05, 4.0
"""As a share of the memory in the first minute; or in MiB, for small processes."""
SECONDS_BETWEEN = 5.0
"""From one sample of memory to the next."""


@dataclass(frozen=True)
class UsageSample:
    at: float
    """Seconds since the measurement began."""
    parts: Mapping[str, Usage]


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p95 and p99, each of which is one of the values."""
    found = np.percentile(values, (50, 95, 99), method="inverted_cdf")
    return dict(zip(("p50", "p95", "p99"), found.tolist(), strict=True))


def spread(seconds: Sequence[float]) -> dict[str, float] | None:
    """Return count, p50, p95, p99 and maximum; None if there are no values."""
    if not seconds:
        return None
    return {"count": len(seconds), **percentiles(seconds), "max": max(seconds)}


def usage(samples: Sequence[UsageSample], seconds: float) -> dict[str, dict[str, float]]:
    """Return, by part: memory in the first and last minute, its slope, CPU time and files."""
    end = min(60.0, seconds / 4)
    first = [sample for sample in samples if sample.at <= end]
    last = [sample for sample in samples if sample.at >= samples[-1].at - end]
    watched, times = samples[-1].at - samples[0].at or 1.0, [sample.at / 60 for sample in samples]
    found = {}
    for name in samples[0].parts:
        memory = _memory(name, samples)
        before, after = (statistics.fmean(_memory(name, part)) for part in (first, last))
        begin, now = samples[0].parts[name], samples[-1].parts[name]
        found[name] = {
            "first_mib": before,
            "last_mib": after,
            "max_mib": max(memory),
            "growth": after / before - 1,
            "mib_per_minute": statistics.linear_regression(times, memory).slope
            if len(samples) > 1
            else 0.0,
            "cpus": (now.cpu_seconds - begin.cpu_seconds) / watched,
            "waited_for_cpu": (now.waited_seconds - begin.waited_seconds) / watched,
            "files_first": begin.files,
            "files_last": now.files,
            "processes": now.processes,
        }
    return found


def _memory(name: str, samples: Sequence[UsageSample]) -> list[float]:
    return [sample.parts[name].memory / MIB for sample in samples]


def figures(records: Records, samples: Sequence[UsageSample], seconds: float) -> dict[str, Any]:
    """Return all figures of a measurement of this length, for JSON."""
    polls = [*records.latencies[POLL_RUNNING], *records.latencies[POLL_ENDED]]
    return {
        "seconds": seconds,
        "latencies": {kind: spread(found) for kind, found in records.latencies.items()},
        "polls": spread(polls),
        "event_lag": spread(records.lags),
        "lateness": spread(records.lateness),
        "statuses": {kind: dict(counts) for kind, counts in sorted(records.statuses.items())},
        "errors": records.errors,
        "events": {"received": records.events, "lost": records.lost, "doubled": records.doubled},
        "listeners_connected": {
            "mean": statistics.fmean(records.connected),
            "lowest": min(records.connected),
            "highest": max(records.connected),
        },
        "share_of_time_with_a_job_at_work": records.looks_busy / records.looks,
        "usage": usage(samples, seconds),
        "over_time": {
            "memory_mib": {
                name: [
                    {"at": sample.at, "mib": sample.parts[name].memory / MIB} for sample in samples
                ]
                for name in samples[0].parts
            },
        },
    }


def watched_seconds(found: Mapping[str, Any]) -> float:
    """Return for how long memory was sampled: until the last sample of the first part."""
    at: float = next(iter(found["over_time"]["memory_mib"].values()))[-1]["at"]
    return at


def goals(found: Mapping[str, Any], rates: Mapping[str, float]) -> list[Goal]:
    polls, events, seconds = found["polls"], found["events"], found["seconds"]
    done = polls["count"] / seconds if polls else 0.0
    p99 = polls["p99"] if polls else float("inf")
    busy, connected = found["share_of_time_with_a_job_at_work"], found["listeners_connected"]
    watched = watched_seconds(found)
    whole = watched >= seconds - 1.5 * SECONDS_BETWEEN
    rows = [
        (
            f"{rates['polls']:g} polls per second while a job runs",
            f"{done:.0f} per second; a job was at work {busy:.0%} of the time",
            done >= 0.95 * rates["polls"] and busy >= 0.9,
        ),
        (f"polls: p99 under {1000 * MOST_P99:.0f} ms", f"{1000 * p99:.0f} ms", p99 < MOST_P99),
        (
            f"{rates['listeners']:g} listeners, no event lost or sent twice",
            f"{connected['mean']:.0f} connected on average, {connected['highest']} at most; "
            f"{events['received']:,} events, {events['lost']} lost, {events['doubled']} twice",
            connected["highest"] == rates["listeners"]
            and not (events["lost"] or events["doubled"]),
        ),
        ("no error", f"{found['errors']}", found["errors"] == 0),
    ]
    for name, part in found["usage"].items():
        if name in ("API", "worker", "Redis"):
            growth = part["last_mib"] - part["first_mib"]
            rows.append(
                (
                    f"memory of the {name} grows by at most {MOST_GROWTH:.0%} or "
                    f"{MOST_GROWTH_MIB:.0f} MiB",
                    f"{part['growth']:+.1%}, {part['mib_per_minute']:+.1f} MiB per minute"
                    + ("" if whole else f"; sampled for only {watched / 60:.1f} minutes"),
                    whole and growth <= max(MOST_GROWTH * part["first_mib"], MOST_GROWTH_MIB),
                )
            )
    return rows
