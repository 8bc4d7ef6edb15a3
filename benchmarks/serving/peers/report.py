"""The figures as Markdown, and the goals."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.serving.photos import SIZE
from benchmarks.skeleton.report import Goal, goal_table, page, table

Document = Mapping[str, Any]
OURS = "dspt"
#: The goals.
LEAST_RATIO = {"64": 1.3, "8": 1.0, "1": 1.0}


def markdown(document: Document) -> str:
    settings = document["settings"]
    blocks = [
        "All servers classify the same JPEGs "
        f"({SIZE[0]} x {SIZE[1]} pixels, {document['photos']['mean_bytes'] / 1000:.0f} kB) with a "
        f"ViT-B/32 of random weights in float32 and {settings['threads']} threads; each runs "
        "alone with its clients on one machine, the order of each second round is reversed. Each "
        "client sends one image after each answer; "
        f"{settings['seconds']:g} seconds per measurement, {settings['rounds']} rounds, seed "
        f"{settings['seed']}. Figures are medians over the rounds; `of dspt`: images per second "
        "compared with dspt in the same round, least to most. CPU time and memory (proportional) "
        "are of all processes of a server: of dspt with its worker, PostgreSQL and Redis.",
        [f"- {name}: {_versions(found)}" for name, found in document["peers"].items()],
    ]
    if document.get("interrupted"):
        blocks.append("**Interrupted: only what was measured until then.**")
    header = ("", "clients", "images/s", "of dspt", "p50 ms", "p99 ms", "CPU ms per image", "MiB")
    rows = [row for name in (OURS, *document["peers"]) for row in _rows(document, name)]
    lines = table((*header, "failed"), rows)
    return page("Serving beside peers", document, *blocks, lines, goal_table(goals(document)))


def _rows(document: Document, name: str) -> Iterator[tuple[str, ...]]:
    rounds = [each for each in document["rounds"] if name in each and OURS in each]
    for clients in rounds[0][name] if rounds else ():
        shares = [
            each[name][clients]["images_per_second"] / each[OURS][clients]["images_per_second"]
            for each in rounds
        ]
        failed = sum(each[name][clients]["failed"] for each in rounds)

        def figure(what: str, factor: float, form: str, clients: str = clients) -> str:
            value = median(document, name, clients, what)
            return "" if value is None else format(factor * value, form)

        yield (
            *(name, clients, figure("images_per_second", 1, ".1f")),
            f"{statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})",
            *(figure("p50", 1000, ",.0f"), figure("p99", 1000, ",.0f")),
            *(figure("cpu_ms", 1, ".0f"), figure("mib", 1, ",.0f"), f"{failed:,}"),
        )


def _versions(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in found.items())


def median(document: Document, server: str, clients: str, what: str) -> float | None:
    """Return the median of a figure over the rounds; None if it was not measured."""
    rounds = [each[server][clients] for each in document["rounds"] if server in each]
    values = [figures[what] for figures in rounds if what in figures]
    return statistics.median(values) if values else None


def goals(document: Document) -> list[Goal]:
    found: list[Goal] = []

    def compare(clients: str, what: str, most: bool) -> tuple[float, str, float] | None:
        """Return our median of a figure, the best peer and its median; None if one is missing."""
        ours = median(document, OURS, clients, what)
        theirs = {name: median(document, name, clients, what) for name in document["peers"]}
        known = [(value, name) for name, value in theirs.items() if value is not None]
        if not ours or not known:
            return None
        best, peer = max(known) if most else min(known)
        return ours, peer, best

    for clients, least in LEAST_RATIO.items():
        if compared := compare(clients, "images_per_second", most=True):
            ours, peer, theirs = compared
            goal = f"{clients} clients: {least:g} times the best peer's images per second"
            measured = f"{ours:.1f} of {theirs:.1f} ({peer}): {ours / theirs:.2f}"
            found.append((goal, measured, ours >= least * theirs))
    for clients in LEAST_RATIO:
        if compared := compare(clients, "p99", most=False):
            ours, peer, theirs = compared
            goal = f"{clients} clients: 99th percentile of the latency not above the best peer's"
            measured = f"{1000 * ours:,.0f} ms of {1000 * theirs:,.0f} ms ({peer})"
            found.append((goal, measured, ours <= theirs))
    if compared := compare("64", "mib", most=False):
        ours, peer, theirs = compared
        goal = "memory of all processes under load, database and queue included: not more than the "
        measured = f"{ours:,.0f} MiB of {theirs:,.0f} MiB ({peer})"
        found.append((f"{goal}best peer's", measured, ours <= theirs))
    return found
