"""The figures as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.serving.peers.summary import OURS, goals, median
from benchmarks.serving.photos import SIZE
from benchmarks.skeleton.report import goal_table, page, table

Document = Mapping[str, Any]


def markdown(document: Document) -> str:
    """Return the table of all servers and a description."""
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
