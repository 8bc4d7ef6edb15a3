"""The figures as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.serving.photos import SIZE
from benchmarks.serving.speed import MANY_CLIENTS
from benchmarks.serving.summary import losses, parts, ratio

Document = Mapping[str, Any]


def markdown(document: Document) -> str:
    """All tables of what was measured, with what they are of."""
    sections: list[str] = [_head(document)]
    for name, found in document.get("backbones", {}).items():
        sections += [f"## {name}", *_backbone(found)]
    if document.get("residents", {}).get("rounds"):
        sections += ["## Many models", _residents(document["residents"])]
    if document.get("switch") or document.get("beside_a_job") or document.get("pressure"):
        sections += ["## Meanwhile", _disturbed(document)]
    sections.append(_goals(document))
    return "\n\n".join(sections) + "\n"


def _head(document: Document) -> str:
    settings, machine = document["settings"], document["machine"]
    photos = document["photos"]
    return "\n\n".join(
        [
            "# The service beside its image tower",
            f"`{document['command']}`",
            f"{machine['processor']}, {machine['cpus']} CPUs, {machine['system']}; load average "
            f"{machine['load_before']:.1f} before and {machine['load_after']:.1f} at the end. "
            + ", ".join(f"{name} {number}" for name, number in document["versions"].items())
            + f". Seed {settings['seed']}.",
            f"`dspt api` ({settings['threads']} threads), `dspt worker`, PostgreSQL, Redis and the "
            f"clients on one machine; {settings['seconds']:g} seconds each. Every client asks, "
            "waits for the answer and asks again, with an API key, over a connection of its own: "
            f"JPEGs of {SIZE[0]} x {SIZE[1]} pixels ({photos['mean_bytes'] / 1000:.0f} kB). The "
            "tower by itself is the one that the API runs, in a fresh process, with as many "
            "threads and nothing to decode.",
        ]
        + (["**Interrupted: what there was by then.**"] if document.get("interrupted") else [])
    )


def _backbone(found: Document) -> Iterator[str]:
    raw = found.get("raw")
    if not raw:
        return
    best = raw["best"]
    yield _table(
        ("by itself", "images/s", "CPU ms an image"),
        [
            *(
                (f"tower ({best['engine']}), batch {each['batch']}", *_speed(each))
                for each in raw["batches"]
            ),
            ("JPEG to crop", *_speed(raw["decode"])),
            (f"JPEG to crop, then tower, batch {best['batch']}", *_speed(raw["both"])),
        ],
    )
    rows = [
        (each["clients"], each["images"], *_service(each), _cpu(each, "API"), _cpu(each, "clients"))
        for each in found.get("service", [])
    ]
    if rows:
        yield _table(
            (
                *("clients", "images in a request", "images/s", "p50 ms", "p95 ms", "p99 ms"),
                *("failed", "API, CPU ms an image", "clients, CPU ms an image"),
            ),
            rows,
        )
    for each in found.get("left_out", []):
        yield (
            f"{each['clients']} clients with {each['images']} images each are left out: an answer "
            "would take longer than the measurement."
        )
    if found.get("pairs"):
        of_raw, split = ratio(found), parts(found)
        yield (
            f"{MANY_CLIENTS} clients with an image each and the tower by turns: "
            f"**{of_raw['median']:.2f} of the tower** ({of_raw['least']:.2f} to "
            f"{of_raw['most']:.2f}, {len(found['pairs'])} pairs), "
            f"{_of_both(found):.2f} of decoding and tower in one process. An image's CPU time: "
            + ", ".join(f"{name} {ms:.1f} ms" for name, ms in split.items() if ms >= 0.05)
            + f". The bottleneck: {next(iter(split))}."
        )


def _of_both(found: Document) -> float:
    """To what one process does that decodes, too: by the ratio of that to the tower."""
    raw = found["raw"]
    share: float = raw["both"]["images_per_second"] / raw["best"]["images_per_second"]
    return ratio(found)["median"] / share


def _residents(found: Document) -> str:
    memory = {str(each["models"]): each["mib"] for each in found["memory"]}
    loss, rounds = losses(found), found["rounds"]
    rows = [
        (
            f"{int(count):,}",
            " ".join(f"{each[count]['images_per_second']:.1f}" for each in rounds),
            f"{loss[count]['median']:+.1%}" if count in loss else "",
            f"{memory[count]:.0f}" if count in memory else "",
        )
        for count in sorted(rounds[0], key=int)
    ]
    return "\n\n".join(
        [
            f"{MANY_CLIENTS} clients, each request of a model drawn at random of so many, all in "
            f"memory, with {found['classes']} classes each, by turns. A model's first request "
            f"takes {found['cold_load_ms']:.1f} ms more than its second.",
            _table(("models", "images/s, by round", "lost", "API, MiB"), rows),
        ]
    )


def _disturbed(document: Document) -> str:
    rows: list[tuple[object, ...]] = []
    if switch := document.get("switch"):
        rows.append((f"an alias moves, {switch['moves']} times", *_service(switch)))
    names = {"before": "before a job", "beside": "beside a job", "after": "after the job"}
    beside = document.get("beside_a_job", {})
    rows += [(names[key], *_service(beside[key])) for key in names if key in beside]
    rows += [
        (f"{clients} clients and a small queue", *_service(found))
        for clients, found in document.get("pressure", {}).items()
    ]
    return _table(("", "images/s", "p50 ms", "p95 ms", "p99 ms", "refused or failed"), rows)


def _goals(document: Document) -> str:
    return _table(
        ("wanted", "measured", "met"),
        [
            (row["goal"], row["measured"], "yes" if row["met"] else "no")
            for row in document["goals"]
        ],
    )


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, ("---", *("---:" for _ in head[1:])), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _speed(found: Document) -> tuple[str, str]:
    return f"{found['images_per_second']:.1f}", f"{found['cpu_ms']:.2f}"


def _service(found: Document) -> tuple[str, ...]:
    times = (f"{1000 * found[f'p{p}']:,.0f}" if f"p{p}" in found else "" for p in (50, 95, 99))
    return f"{found['images_per_second']:.1f}", *times, f"{found['failed']:,}"


def _cpu(found: Document, part: str) -> str:
    return f"{found['cpu_ms'][part]:.2f}" if part in found["cpu_ms"] else ""
