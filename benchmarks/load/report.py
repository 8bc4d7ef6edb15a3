"""The figures as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.load.summary import goals, watched_seconds
from benchmarks.skeleton.report import goal_table, page, table

Document = Mapping[str, Any]


def markdown(document: Document) -> str:
    found, settings = document["figures"], document["settings"]
    usage = ("", "first", "last", "max", "growth", "MiB per minute", "files, first and last")
    return page(
        "The service under load",
        document,
        f"{found['seconds'] / 60:g} minutes, after a warm-up of {settings['warm_up']:g} seconds; "
        f"seed {settings['seed']}. "
        "PostgreSQL (every commit on disk), Redis, `dspt api`, `dspt worker` (nice 5) and the "
        f"load generator run on one machine. {settings['polls']:g} polls per second, "
        f"{settings['predictions']:g} predictions of one photo per second and "
        f"{settings['submits']:g} jobs per minute ({settings['epochs']} epochs on "
        f"{settings['images']} photos, {settings['zip_bytes'] / 1e6:.1f} MB) are sent at random "
        "moments, whether or not earlier requests have been answered (an open loop). "
        f"{settings['listeners']} listeners follow the events of running jobs; each disconnects "
        f"every {settings['stays']:g} seconds on average and reconnects with Last-Event-ID. Every "
        "request carries an API key.",
        "Latency in milliseconds, from the moment that a request was due until the end of its "
        "answer. The last row is the delay of the load generator itself, which is included.",
        table(("", "count", "p50", "p95", "p99", "max"), _latencies(found)),
        table(("request", "answers by status"), _statuses(found), left=2),
        f"Resources, sampled for {watched_seconds(found) / 60:.1f} minutes. Memory in MiB: mean "
        "over the first and the last minute of these, maximum, growth, and slope per minute; a "
        "page that several processes share counts once. Files: open files and connections of the "
        "first process. Waited: share of the time in which its main thread was ready to run but "
        "had no CPU; a high value means that the machine is too small or busy.",
        table((*usage, "CPUs used", "waited for a CPU"), _usage(found)),
        goal_table(goals(found, settings)),
    )


def _latencies(found: Document) -> Iterator[Sequence[str]]:
    rows: dict[str, Mapping[str, float] | None] = {
        **found["latencies"],
        "**all polls**": found["polls"],
        "event, from its timestamp to its arrival": found["event_lag"],
        "delay of the load generator": found["lateness"],
    }
    for name, row in rows.items():
        if row is not None:
            yield (
                name,
                f"{row['count']:,}",
                *(_ms(row[key]) for key in ("p50", "p95", "p99", "max")),
            )


def _statuses(found: Document) -> Iterator[Sequence[str]]:
    for kind, counts in found["statuses"].items():
        yield kind, ", ".join(f"{status}: {n:,}" for status, n in sorted(counts.items()))


def _usage(found: Document) -> Iterator[Sequence[str]]:
    for name, part in found["usage"].items():
        yield (
            name,
            *(f"{part[key]:.0f}" for key in ("first_mib", "last_mib", "max_mib")),
            f"{part['growth']:+.1%}",
            f"{part['mib_per_minute']:+.2f}",
            f"{part['files_first']:.0f}, {part['files_last']:.0f}",
            f"{part['cpus']:.2f}",
            f"{part['waited_for_cpu']:.0%}",
        )


def _ms(seconds: float) -> str:
    milliseconds = 1000 * seconds
    return f"{milliseconds:.1f}" if milliseconds < 100 else f"{milliseconds:,.0f}"
