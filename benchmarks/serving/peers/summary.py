"""From the rounds to ratios and goals."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

Found = Mapping[str, Any]
OURS = "dspt"
#: The goals.
LEAST_RATIO = {"64": 1.3, "8": 1.0, "1": 1.0}


def median(document: Found, server: str, clients: str, what: str) -> float | None:
    """Return the median of a figure over the rounds; None if it was not measured."""
    rounds = [each[server][clients] for each in document["rounds"] if server in each]
    values = [figures[what] for figures in rounds if what in figures]
    return statistics.median(values) if values else None


def best(document: Found, clients: str, what: str, *, most: bool) -> tuple[str, float] | None:
    """Return the best peer by the median of a figure, and that."""
    found = {name: median(document, name, clients, what) for name in document["peers"]}
    known = [(value, name) for name, value in found.items() if value is not None]
    if not known:
        return None
    value, name = max(known) if most else min(known)
    return name, value


def goals(document: Found) -> list[dict[str, Any]]:
    """Return each goal, what was measured, and whether the goal is met; for what was measured."""
    rows = [*_speed(document), *_latency(document), *_memory(document)]
    return [{"goal": goal, "measured": measured, "met": met} for goal, measured, met in rows]


def _speed(document: Found) -> Iterator[tuple[str, str, bool]]:
    for clients, least in LEAST_RATIO.items():
        ours = median(document, OURS, clients, "images_per_second")
        peer = best(document, clients, "images_per_second", most=True)
        if ours and peer:
            yield (
                f"{clients} clients: {least:g} times the best peer's images per second",
                f"{ours:.1f} of {peer[1]:.1f} ({peer[0]}): {ours / peer[1]:.2f}",
                ours >= least * peer[1],
            )


def _latency(document: Found) -> Iterator[tuple[str, str, bool]]:
    for clients in LEAST_RATIO:
        ours = median(document, OURS, clients, "p99")
        peer = best(document, clients, "p99", most=False)
        if ours and peer:
            yield (
                f"{clients} clients: 99th percentile of the latency not above the best peer's",
                f"{1000 * ours:,.0f} ms of {1000 * peer[1]:,.0f} ms ({peer[0]})",
                ours <= peer[1],
            )


def _memory(document: Found) -> Iterator[tuple[str, str, bool]]:
    ours = median(document, OURS, "64", "mib")
    peer = best(document, "64", "mib", most=False)
    if ours and peer:
        yield (
            "memory of all processes under load, database and queue included: not more than the "
            "best peer's",
            f"{ours:,.0f} MiB of {peer[1]:,.0f} MiB ({peer[0]})",
            ours <= peer[1],
        )
