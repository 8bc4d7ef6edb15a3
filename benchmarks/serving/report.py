"""The figures as Markdown, and the goals."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.serving.bench import MANY_CLIENTS
from benchmarks.serving.measurements import FEW_WAITING, TOO_MANY_CLIENTS
from benchmarks.serving.peers import report as peers
from benchmarks.serving.photos import SIZE
from benchmarks.skeleton.report import Goal, goal_table, page, table

Document = Mapping[str, Any]
#: The goals.
LEAST_RATIO = 0.90
MOST_LOSS = 0.03
LEAST_UNDER_PRESSURE = 0.90

_MANY_MODELS = "1000"


def markdown(document: Document) -> str:
    if "peers" in document:
        return peers.markdown(document)
    settings = document["settings"]
    blocks: list[str | list[str]] = [
        f"`dspt api` ({settings['threads']} threads), `dspt worker`, PostgreSQL, Redis and the "
        f"clients run on one machine; {settings['seconds']:g} seconds per measurement; seed "
        f"{settings['seed']}. Each client sends the next request after each answer, with an API "
        f"key and a connection of its own. Images: JPEGs of {SIZE[0]} x {SIZE[1]} pixels "
        f"({document['photos']['mean_bytes'] / 1000:.0f} kB). The tower alone is the one of the "
        "API, in a new process with as many threads and without decoding."
    ]
    if document.get("interrupted"):
        blocks.append("**Interrupted: only what was measured until then.**")
    for name, found in document.get("backbones", {}).items():
        blocks += [f"## {name}", *_backbone(found)]
    if document.get("residents", {}).get("rounds"):
        blocks += ["## Many models", *_residents(document["residents"])]
    if document.get("beside_a_job") or document.get("pressure"):
        blocks += ["## Disturbances", _disturbed(document)]
    return page("Serving speed", document, *blocks, goal_table(goals(document)))


def _backbone(found: Document) -> Iterator[str | list[str]]:
    raw = found.get("raw")
    if not raw:
        return
    best = raw["best"]
    alone = [
        (f"tower ({best['engine']}), batch of {each['batch']}", each) for each in raw["batches"]
    ]
    alone += [
        ("JPEG to crop", raw["decode"]),
        (f"JPEG to crop, then tower, batch of {best['batch']}", raw["both"]),
    ]
    yield table(
        ("one process, no HTTP", "images/s", "CPU ms per image"),
        [
            (what, f"{each['images_per_second']:.1f}", f"{each['cpu_ms']:.2f}")
            for what, each in alone
        ],
    )
    rows = [
        (
            *(str(each["clients"]), str(each["images"]), *_service(each)),
            *(_cpu(each, part) for part in ("API", "clients")),
        )
        for each in found.get("service", [])
    ]
    if rows:
        yield table(
            (
                *("clients", "images per request", "images/s", "p50 ms", "p95 ms", "p99 ms"),
                *("failed", "API, CPU ms per image", "clients, CPU ms per image"),
            ),
            rows,
        )
    for each in found.get("left_out", []):
        yield (
            f"{each['clients']} clients with {each['images']} images per request: not measured, "
            "because an answer would take longer than the measurement."
        )
    if found.get("pairs"):
        of_raw, split = ratio(found), parts(found)
        of_both = raw["both"]["images_per_second"] / raw["best"]["images_per_second"]
        yield (
            f"{MANY_CLIENTS} clients with one image per request, in turns with the tower alone: "
            f"**{of_raw['median']:.2f} of the tower** (median of {len(found['pairs'])} pairs; "
            f"{of_raw['least']:.2f} to {of_raw['most']:.2f}), {of_raw['median'] / of_both:.2f} of "
            "decoding and tower in one process. CPU time per image: "
            + ", ".join(f"{name} {ms:.1f} ms" for name, ms in split.items() if ms >= 0.05)
            + f". The bottleneck: {next(iter(split))}."
        )


def _residents(found: Document) -> Iterator[str | list[str]]:
    memory = {str(each["models"]): each["mib"] for each in found["memory"]}
    loss, rounds = losses(found), found["rounds"]
    yield (
        f"{MANY_CLIENTS} clients; each request is for one of the models, drawn at random; all are "
        f"in memory and have {found['classes']} classes; the numbers of models take turns. "
        "Loss: median over the rounds, compared with one model."
    )
    yield table(
        ("models", "images/s, by round", "loss", "API, MiB"),
        [
            (
                f"{int(count):,}",
                " ".join(f"{each[count]['images_per_second']:.1f}" for each in rounds),
                f"{loss[count]['median']:+.1%}" if count in loss else "",
                f"{memory[count]:.0f}" if count in memory else "",
            )
            for count in sorted(rounds[0], key=int)
        ],
    )


def _disturbed(document: Document) -> list[str]:
    found: dict[str, Document] = {}
    names = {"before": "before a job", "beside": "while a job is tuned", "after": "after the job"}
    beside = document.get("beside_a_job", {})
    found |= {names[key]: beside[key] for key in names if key in beside}
    found |= {
        f"{clients} clients and a small queue": each
        for clients, each in document.get("pressure", {}).items()
    }
    return table(
        ("", "images/s", "p50 ms", "p95 ms", "p99 ms", "refused or failed"),
        [(name, *_service(each)) for name, each in found.items()],
    )


def _service(found: Document) -> tuple[str, ...]:
    times = (f"{1000 * found[f'p{p}']:,.0f}" if f"p{p}" in found else "" for p in (50, 95, 99))
    return f"{found['images_per_second']:.1f}", *times, f"{found['failed']:,}"


def _cpu(found: Document, part: str) -> str:
    return f"{found['cpu_ms'][part]:.2f}" if part in found["cpu_ms"] else ""


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return minimum, median and maximum."""
    return {"least": min(values), "median": statistics.median(values), "most": max(values)}


def ratio(found: Document) -> dict[str, float]:
    """Return the speed of the service as a share of its tower, over the pairs of measurements."""
    return spread([pair["ratio"] for pair in found["pairs"]])


def losses(residents: Document) -> dict[str, dict[str, float]]:
    """Return, by number of models, the share of speed lost to that many, over the rounds.

    A round in which a busy machine answered no request for the one model is left out.
    """
    rounds = [each for each in residents["rounds"] if each["1"]["images_per_second"]]
    return {
        count: spread(
            [
                1 - each[count]["images_per_second"] / each["1"]["images_per_second"]
                for each in rounds
            ]
        )
        for count in (rounds[0] if rounds else ())
        if count != "1"
    }


def parts(found: Document) -> dict[str, float]:
    """Return the CPU time per image by part in milliseconds, with many clients, largest first.

    Tower and decoding are those measured alone; what the API needs beyond these and its event loop
    is `threads and batches`.
    """
    pairs = [pair["cpu_ms"] for pair in found["pairs"]]
    spent = {name: statistics.median(pair[name] for pair in pairs) for name in pairs[0]}
    raw = found["raw"]
    split = {
        "tower": raw["best"]["cpu_ms"],
        "JPEG to crop": raw["decode"]["cpu_ms"],
        "HTTP (event loop)": spent.pop("API, event loop"),
    }
    split["threads and batches"] = max(0.0, spent.pop("API") - sum(split.values()))
    return dict(sorted((split | spent).items(), key=lambda item: -item[1]))


def goals(document: Document) -> Iterator[Goal]:
    for name, found in document.get("backbones", {}).items():
        if found.get("pairs"):
            of_raw = ratio(found)
            yield (
                f"{name}: {MANY_CLIENTS} clients get {LEAST_RATIO:.2f} of the tower's images per "
                "second, JPEG decoding included",
                f"{_range(of_raw)} of {found['raw']['best']['images_per_second']:.0f}",
                of_raw["median"] >= LEAST_RATIO,
            )
    residents = document.get("residents", {})
    if residents.get("rounds") and (loss := losses(residents).get(_MANY_MODELS)):
        yield (
            f"1,000 models: at most {MOST_LOSS:.0%} slower than one",
            f"{loss['median']:+.1%} ({loss['least']:+.1%} to {loss['most']:+.1%})",
            loss["median"] <= MOST_LOSS,
        )
    pressure = document.get("pressure", {})
    few, many = (pressure.get(str(count)) for count in (MANY_CLIENTS, TOO_MANY_CLIENTS))
    if few and many:
        kept = many["images_per_second"] / few["images_per_second"]
        yield (
            f"{TOO_MANY_CLIENTS} clients, of which {FEW_WAITING} may wait: the others get "
            f"Retry-After, and at least {LEAST_UNDER_PRESSURE:.0%} of the speed remains",
            f"{many['refused']:,} refused, {many['refused'] - many['told_when']} of them without "
            f"Retry-After; {kept:.0%} of the speed",
            many["refused"] == many["told_when"] > 0
            and many["failed"] == many["refused"]
            and kept >= LEAST_UNDER_PRESSURE,
        )


def _range(values: Mapping[str, float]) -> str:
    return f"{values['median']:.2f} ({values['least']:.2f} to {values['most']:.2f})"
