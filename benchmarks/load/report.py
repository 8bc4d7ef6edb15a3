"""The figures as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]


def markdown(document: Document) -> str:
    """All tables, with what they are of."""
    found, settings, machine = document["figures"], document["settings"], document["machine"]
    lines = [
        "# The service under load",
        "",
        f"`{document['command']}`",
        "",
        f"{machine['processor']}, {machine['cpus']} CPUs, {machine['system']}; load average "
        f"{machine['load_before']:.1f} before and {machine['load_after']:.1f} at the end. "
        + ", ".join(f"{name} {number}" for name, number in document["versions"].items())
        + f". Seed {settings['seed']}.",
        "",
        f"{found['seconds'] / 60:g} minutes, after {settings['warm_up']:g} seconds that do not "
        "count. PostgreSQL (every commit on disk), Redis, `dspt api`, `dspt worker` (nice 5) and "
        f"the load on one machine: {settings['polls']:g} polls a second, "
        f"{settings['predictions']:g} predictions of one photo a second, {settings['submits']:g} "
        f"jobs of {settings['epochs']} epochs on {settings['images']} photos "
        f"({settings['zip_bytes'] / 1e6:.1f} MB) a minute, each at a moment drawn at random, "
        f"whatever the answers do; {settings['listeners']} listeners to the events of running "
        f"jobs, each of whom hangs up every {settings['stays']:g} seconds on average and comes "
        "back with Last-Event-ID. Every request carries an API key.",
        "",
        *_latencies(found),
        "",
        *_statuses(found),
        "",
        *_usage(found),
        "",
        "| wanted | measured | met |",
        "|---|---|---|",
        *(
            f"| {row['goal']} | {row['measured']} | {'yes' if row['met'] else 'no'} |"
            for row in document["goals"]
        ),
    ]
    return "\n".join(lines) + "\n"


def _latencies(found: Document) -> list[str]:
    rows: dict[str, Mapping[str, float] | None] = {
        **found["latencies"],
        "**all polls**": found["polls"],
        "event, from happening to arrival": found["event_lag"],
        "the load's own lateness": found["lateness"],
    }
    return [
        "From the moment at which a request was due to the end of its answer, in milliseconds; a "
        "load that is late itself would make the service look slow.",
        "",
        "| | count | p50 | p95 | p99 | max |",
        "|---|---:|---:|---:|---:|---:|",
        *(
            f"| {name} | {row['count']:,} | {_ms(row['p50'])} | {_ms(row['p95'])} "
            f"| {_ms(row['p99'])} | {_ms(row['max'])} |"
            for name, row in rows.items()
            if row is not None
        ),
    ]


def _statuses(found: Document) -> list[str]:
    return [
        "| | answers by status |",
        "|---|---|",
        *(
            f"| {kind} | {', '.join(f'{s}: {n:,}' for s, n in sorted(counts.items()))} |"
            for kind, counts in found["statuses"].items()
        ),
    ]


def _usage(found: Document) -> list[str]:
    return [
        "Memory in MiB, mean over the first and the last minute (pages that processes share count "
        "once); files and connections that the first process has open; CPUs in use; share of the "
        "time in which its main thread could have run and had no CPU: where that is much, the "
        "machine is too small, or busy with other things.",
        "",
        "| | first | last | most | growth | per minute | files, first and last | CPUs "
        "| waited for a CPU |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(
            f"| {name} | {part['first_mib']:.0f} | {part['last_mib']:.0f} "
            f"| {part['max_mib']:.0f} | {part['growth']:+.1%} | {part['mib_per_minute']:+.2f} "
            f"| {part['files_first']:.0f}, {part['files_last']:.0f} | {part['cpus']:.2f} "
            f"| {part['waited_for_cpu']:.0%} |"
            for name, part in found["usage"].items()
        ),
    ]


def _ms(seconds: float) -> str:
    milliseconds = 1000 * seconds
    return f"{milliseconds:.1f}" if milliseconds < 100 else f"{milliseconds:,.0f}"
