"""From what was noted down to figures: percentiles, growth, goals."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.load.memory import Look
from benchmarks.load.records import POLL_ENDED, POLL_RUNNING, Records, Sample

MIB = 1 << 20
WINDOW_SECONDS = 10.0
#: What is wanted on two cores.
MOST_P99 = 0.100
MOST_GROWTH, MOST_GROWTH_MIB = 0.05, 4.0
"""The share of what it was, or, of a small process, so much."""


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of the values do not exceed."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(0, int(rank) - 1)]


def spread(samples: Sequence[Sample]) -> dict[str, float] | None:
    """Count, p50, p95, p99 and the largest, in seconds; None of nothing."""
    if not samples:
        return None
    values = [sample.seconds for sample in samples]
    found = {f"p{percent}": percentile(values, percent) for percent in (50, 95, 99)}
    return {"count": len(values), **found, "max": max(values)}


def windows(samples: Sequence[Sample], seconds: float) -> list[dict[str, float]]:
    """p50 and p99 of each ten seconds, of those in which there was anything."""
    by_window: dict[int, list[float]] = {}
    for sample in samples:
        if sample.at < seconds:
            by_window.setdefault(int(sample.at // WINDOW_SECONDS), []).append(sample.seconds)
    return [
        {
            "at": number * WINDOW_SECONDS,
            "p50": percentile(values, 50),
            "p99": percentile(values, 99),
        }
        for number, values in sorted(by_window.items())
    ]


def usage(looks: Sequence[Look], seconds: float) -> dict[str, dict[str, float]]:
    """Of each part: memory in the first and the last minute, its slope, processor time, files."""
    end = min(60.0, seconds / 4)
    first = [look for look in looks if look.at <= end]
    last = [look for look in looks if look.at >= looks[-1].at - end]
    return {name: _of_part(name, looks, first, last) for name in looks[0].parts}


def _of_part(
    name: str, looks: Sequence[Look], first: Sequence[Look], last: Sequence[Look]
) -> dict[str, float]:
    times = [look.at / 60 for look in looks]
    memory = [look.parts[name].memory / MIB for look in looks]
    slope = statistics.linear_regression(times, memory).slope if len(looks) > 1 else 0.0
    before = statistics.fmean(look.parts[name].memory / MIB for look in first)
    after = statistics.fmean(look.parts[name].memory / MIB for look in last)
    seconds = looks[-1].at - looks[0].at or 1.0
    busy = looks[-1].parts[name].cpu_seconds - looks[0].parts[name].cpu_seconds
    waited = looks[-1].parts[name].waited_seconds - looks[0].parts[name].waited_seconds
    return {
        "first_mib": before,
        "last_mib": after,
        "max_mib": max(memory),
        "growth": after / before - 1,
        "mib_per_minute": slope,
        "cpus": busy / seconds,
        "waited_for_cpu": waited / seconds,
        "files_first": first[0].parts[name].files,
        "files_last": last[-1].parts[name].files,
        "processes": last[-1].parts[name].processes,
    }


def figures(records: Records, looks: Sequence[Look], seconds: float) -> dict[str, Any]:
    """All figures of a measurement of this length, for JSON."""
    polls = [*records.latencies[POLL_RUNNING], *records.latencies[POLL_ENDED]]
    return {
        "seconds": seconds,
        "latencies": {kind: spread(samples) for kind, samples in records.latencies.items()},
        "polls": spread(polls),
        "event_lag": spread(records.lags),
        "lateness": spread(records.lateness),
        "statuses": {kind: dict(counts) for kind, counts in sorted(records.statuses.items())},
        "errors": records.errors,
        "events": {
            "received": records.events,
            "lost": records.lost,
            "doubled": records.doubled,
        },
        "listeners_connected": {
            "mean": statistics.fmean(records.connected),
            "lowest": min(records.connected),
            "highest": max(records.connected),
        },
        "share_of_time_with_a_job_at_work": records.looks_busy / records.looks,
        "usage": usage(looks, seconds),
        "over_time": {
            "polls": windows(polls, seconds),
            "event_lag": windows(records.lags, seconds),
            "memory_mib": {
                name: [{"at": look.at, "mib": look.parts[name].memory / MIB} for look in looks]
                for name in looks[0].parts
            },
        },
    }


def goals(found: Mapping[str, Any], rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """What is wanted, what was measured, and whether that is met."""
    polls, events = found["polls"], found["events"]
    done = polls["count"] / found["seconds"] if polls else 0.0
    p99 = polls["p99"] if polls else float("inf")
    connected = found["listeners_connected"]
    rows = [
        (
            f"{rates['polls']:g} polls a second beside a running job",
            f"{done:.0f} a second; a job was at work "
            f"{found['share_of_time_with_a_job_at_work']:.0%} of the time",
            done >= 0.95 * rates["polls"] and found["share_of_time_with_a_job_at_work"] >= 0.9,
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
            rows.append(
                (
                    f"no growth of the {name}: at most {MOST_GROWTH:.0%} or "
                    f"{MOST_GROWTH_MIB:.0f} MiB",
                    f"{part['growth']:+.1%}, {part['mib_per_minute']:+.1f} MiB a minute",
                    part["last_mib"] - part["first_mib"]
                    <= max(MOST_GROWTH * part["first_mib"], MOST_GROWTH_MIB),
                )
            )
    return [{"goal": goal, "measured": measured, "met": met} for goal, measured, met in rows]
