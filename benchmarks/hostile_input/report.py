"""The findings as tables by family in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.skeleton.report import page, table

_MEANINGS = {
    "refused": "refused (4xx)",
    "failed": "job failed",
    "rejected": "files rejected",
    "harmless": "accepted, harmless",
    "wrong": "error",
}


def markdown(document: Mapping[str, Any]) -> str:
    """Return the tables and a description of the run."""
    attacks, read = document["attacks"], document["read"]
    wrong = [text for attack in attacks for text in attack["wrong"]]
    wrong += [text for found in read.values() for text in found["broken"]]
    wrong += [f"written: {path}" for path in document["written_elsewhere"]]
    rows = [
        [
            attack["name"],
            *map(str, (attack["files"], *(attack["outcomes"][o] for o in _MEANINGS))),
            f"{attack['seconds']:,.0f}",
        ]
        for attack in attacks
    ]

    def by(kind: str) -> tuple[str, list[str]]:
        families = read[kind]["families"].keys()
        return _by_family(read[kind], [a for a in attacks if a["families"].keys() <= families])

    return page(
        "Hostile input",
        document,
        _summary(document),
        table(("", "files", *_MEANINGS.values(), "seconds"), rows),
        *("## Archives", *by("archive")),
        *("## Images", *by("image")),
        *(("## Errors", [f"- {text}" for text in wrong]) if wrong else ()),
    )


def _summary(document: Mapping[str, Any]) -> str:
    disk = document["disk_mib"]
    peaks = ", ".join(
        f"{name} {memory['peak']:,} (before: {memory['before']:,})"
        for name, memory in document["memory_mib"].items()
    )
    processes = "no process had died" if document["same_processes"] else "a process had died"
    written = len(document["written_elsewhere"])
    return (
        f"Seed {document['seed']}. Peak memory in MiB while the service was attacked: {peaks}. "
        f"Peak disk use: {disk['peak']:,} MiB in the data directory, {disk['temporary_peak']:,} "
        f"MiB in the temporary directory. At the end {processes}, a valid job "
        f"{document['sound_job_afterwards']}, and {written} files had been written elsewhere."
    )


def _by_family(
    read: Mapping[str, Any], attacks: Sequence[Mapping[str, Any]]
) -> tuple[str, list[str]]:
    columns = [
        (attack, outcome)
        for attack in attacks
        for outcome in _MEANINGS
        if attack["outcomes"][outcome] or outcome == "wrong"
    ]
    titles = [
        f"{attack['name']}: {_MEANINGS[outcome]}" if len(attacks) > 1 else _MEANINGS[outcome]
        for attack, outcome in columns
    ]
    rows = [
        [
            family,
            str(sum(attacks[0]["families"][family].values())),
            *(str(attack["families"][family][outcome] or "") for attack, outcome in columns),
            str(figures["most_cpu_seconds"]),
            f"{figures['most_growth_mib']:,}",
        ]
        for family, figures in read["families"].items()
    ]
    text = f"Read directly: {read['cpu_seconds']:,} s of CPU time in total; at most "
    text += (
        f"{read['most_cpu_seconds']} s and {read['most_growth_mib']:,} MiB of memory for one file."
    )
    return text, table(("family", "files", *titles, "max. CPU s", "max. MiB"), rows)
