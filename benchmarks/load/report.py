"""The figures as Markdown, and as a plot of latency, event lag and memory over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from benchmarks.load.summary import MOST_P99, goals, watched_seconds
from benchmarks.skeleton.figures import (
    BLUE,
    GREEN,
    GREY,
    PINK,
    RED,
    Style,
    draw,
    new_figure,
    saved,
    styled,
)
from benchmarks.skeleton.report import heading, table

Document = Mapping[str, Any]
WIDTH, HEIGHT = 2.6, 2.2  # inches of one panel

_P50, _P99 = Style("p50", BLUE, width=1.0), Style("p99", RED)
_PARTS = {
    "API": Style("API", BLUE, width=1.6),
    "worker": Style("worker", RED, line="--"),
    "PostgreSQL": Style("PostgreSQL", GREEN, line="-."),
    "Redis": Style("Redis", PINK, line=":"),
}


def markdown(document: Document) -> str:
    """Return the tables and a description of the measurement."""
    found, settings = document["figures"], document["settings"]
    lines = [
        "# The service under load",
        "",
        *heading(document),
        "",
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
        "",
        "Latency in milliseconds, from the moment that a request was due until the end of its "
        "answer. The last row is the delay of the load generator itself, which is included.",
        "",
        *table(("", "count", "p50", "p95", "p99", "max"), _latencies(found)),
        "",
        *table(("request", "answers by status"), _statuses(found), left=2),
        "",
        f"Resources, sampled for {watched_seconds(found) / 60:.1f} minutes. Memory in MiB: mean "
        "over the first and the last minute of these, maximum, growth, and slope per minute; a "
        "page that several processes share counts once. Files: open files and connections of the "
        "first process. Waited: share of the time in which its main thread was ready to run but "
        "had no CPU; a high value means that the machine is too small or busy.",
        "",
        *table(
            (
                *("", "first", "last", "max", "growth", "MiB per minute"),
                *("files, first and last", "CPUs used", "waited for a CPU"),
            ),
            _usage(found),
        ),
        "",
        *table(
            ("goal", "measured", "met"),
            (
                (row["goal"], row["measured"], "yes" if row["met"] else "no")
                for row in goals(found, settings)
            ),
            left=3,
        ),
    ]
    return "\n".join(lines) + "\n"


def figures(document: Document, name: str) -> dict[str, bytes]:
    """Return `name`.png and `name`.svg."""
    found = document["figures"]
    over_time = found["over_time"]
    with styled():
        figure = new_figure(3 * WIDTH, HEIGHT)
        polls, lag, memory = figure.subplots(1, 3)
        _percentiles(polls, over_time["polls"], "polls: latency in ms, per 10 s")
        polls.axhline(
            1000 * MOST_P99, color=GREY, linestyle="--", linewidth=1, label="goal for p99"
        )
        _percentiles(lag, over_time["event_lag"], "events: delay in ms, per 10 s")
        for part, style in _PARTS.items():
            points = over_time["memory_mib"][part]
            draw(memory, style, _minutes(points), [point["mib"] for point in points])
        memory.set_title("memory in MiB")
        for panel in (polls, lag, memory):
            panel.set_xlabel("minutes")
            panel.set_xlim(0, found["seconds"] / 60)
            panel.set_ylim(bottom=0)
            panel.legend()
        return saved(figure, name)


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


def _percentiles(axes: Axes, points: Sequence[Mapping[str, float]], title: str) -> None:
    for key, style in (("p50", _P50), ("p99", _P99)):
        draw(axes, style, _minutes(points), [1000 * point[key] for point in points])
    axes.set_title(title)


def _minutes(points: Sequence[Mapping[str, float]]) -> list[float]:
    return [point["at"] / 60 for point in points]
