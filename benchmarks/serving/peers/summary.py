"""From the rounds to ratios and goals."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.skeleton.report import Goal

Found = Mapping[str, Any]
OURS = "dspt"
#: The goals.
LEAST_RATIO = {"64": 1.3, "8": 1.0, "1": 1.0}


def median(document: Found, server: str, clients: str, what: str) -> float | None:
    """Return the median of a figure over the rounds; None if it was not measured."""
    rounds = [each[server][clients] for each in document["rounds"] if server in each]
    values = [figures[what] for figures in rounds if what in figures]
    return statistics.median(values) if values else None


def _beside(
    document: Found, clients: str, what: str, *, most: bool
) -> Iterator[tuple[float, str, float]]:
    """Yield our median of a figure, the best peer and its median; nothing if one is missing."""
    ours = median(document, OURS, clients, what)
    found = {name: median(document, name, clients, what) for name in document["peers"]}
    known = [(value, name) for name, value in found.items() if value is not None]
    if ours and known:
        theirs, peer = max(known) if most else min(known)
        yield ours, peer, theirs


def goals(document: Found) -> list[Goal]:
    """Return the goals of what was measured."""
    return [*_speed(document), *_latency(document), *_memory(document)]


def _speed(document: Found) -> Iterator[Goal]:
    for clients, least in LEAST_RATIO.items():
        for ours, peer, theirs in _beside(document, clients, "images_per_second", most=True):
            yield (
                f"{clients} clients: {least:g} times the best peer's images per second",
                f"{ours:.1f} of {theirs:.1f} ({peer}): {ours / theirs:.2f}",
                ours >= least * theirs,
            )


def _latency(document: Found) -> Iterator[Goal]:
    for clients in LEAST_RATIO:
        for ours, peer, theirs in _beside(document, clients, "p99", most=False):
            yield (
                f"{clients} clients: 99th percentile of the latency not above the best peer's",
                f"{1000 * ours:,.0f} ms of {1000 * theirs:,.0f} ms ({peer})",
                ours <= theirs,
            )


def _memory(document: Found) -> Iterator[Goal]:
    for ours, peer, theirs in _beside(document, "64", "mib", most=False):
        yield (
            "memory of all processes under load, database and queue included: not more than the "
            "best peer's",
            f"{ours:,.0f} MiB of {theirs:,.0f} MiB ({peer})",
            ours <= theirs,
        )
