"""The findings as JSON, and as tables by family in Markdown."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from benchmarks.hostile_input.case import Case
from benchmarks.hostile_input.reader import Reading
from benchmarks.hostile_input.run import Attack, Findings
from benchmarks.hostile_input.send import Outcome
from benchmarks.skeleton.report import heading, table

_MIB = 1 << 20
_OUTCOMES: tuple[str, ...] = get_args(Outcome)
_MEANINGS = {
    "refused": "refused (4xx)",
    "failed": "job failed",
    "rejected": "files rejected",
    "harmless": "accepted, harmless",
    "wrong": "error",
}


def figures(findings: Findings) -> dict[str, Any]:
    """Return all figures for JSON."""
    watched = findings.watched
    return {
        "right": findings.right,
        "read": {kind: _read(found) for kind, found in findings.read.items()},
        "attacks": [_attack(attack) for attack in findings.attacks],
        "memory_mib": {
            name: {"before": before // _MIB, "peak": watched.memory_peak[name] // _MIB}
            for name, before in watched.memory_before.items()
        },
        "disk_mib": {
            "before": round(watched.disk_before / _MIB, 1),
            "peak": round(watched.disk_peak / _MIB, 1),
            "temporary_peak": round(watched.temporary_peak / _MIB, 1),
        },
        "same_processes": findings.before == findings.after,
        "sound_job_afterwards": findings.sound_job,
        "written_elsewhere": [*findings.written, *findings.left_behind],
    }


def _read(found: Sequence[tuple[Case, Reading]]) -> dict[str, Any]:
    families: dict[str, list[Reading]] = defaultdict(list)
    for case, reading in found:
        families[case.family].append(reading)
    return {
        "files": len(found),
        "cpu_seconds": round(sum(reading.cpu_seconds for _, reading in found), 1),
        **_most([reading for _, reading in found]),
        "broken": [f"{c.name}: {r.said}" for c, r in found if r.outcome == "broken"],
        "families": {family: _most(readings) for family, readings in families.items()},
    }


def _most(readings: Sequence[Reading]) -> dict[str, float]:
    return {
        "most_cpu_seconds": round(max(reading.cpu_seconds for reading in readings), 2),
        "most_growth_mib": max(reading.growth_bytes for reading in readings) // _MIB,
    }


def _attack(attack: Attack) -> dict[str, Any]:
    families: dict[str, Counter[str]] = defaultdict(Counter)
    said: Counter[str] = Counter()
    for answer in attack.answers:
        families[answer.case.family][answer.outcome] += 1
        if answer.outcome in ("refused", "failed"):
            said[answer.said] += 1
    return {
        "name": attack.name,
        "files": len(attack.answers),
        "seconds": round(attack.seconds, 1),
        "outcomes": _counted(Counter(answer.outcome for answer in attack.answers)),
        "families": {family: _counted(counts) for family, counts in families.items()},
        "codes": dict(said.most_common()),
        "wrong": [f"{a.case.name}: {a.said}" for a in attack.answers if a.outcome == "wrong"],
    }


def _counted(counts: Mapping[str, int]) -> dict[str, int]:
    return {outcome: counts.get(outcome, 0) for outcome in _OUTCOMES}


def markdown(document: Mapping[str, Any]) -> str:
    """Return the tables and a description of the run."""
    attacks = document["attacks"]
    lines = [
        "# Hostile input",
        "",
        *heading(document),
        "",
        _summary(document),
        "",
        *table(
            ("", "files", *_MEANINGS.values(), "seconds"),
            (
                [
                    attack["name"],
                    *map(str, (attack["files"], *(attack["outcomes"][o] for o in _MEANINGS))),
                    f"{attack['seconds']:,.0f}",
                ]
                for attack in attacks
            ),
        ),
    ]
    for kind, title in (("archive", "Archives"), ("image", "Images")):
        of_kind = [a for a in attacks if (a["name"] == "as jobs") == (kind == "archive")]
        lines += ["", f"## {title}", "", *_by_family(document["read"][kind], of_kind)]
    wrong = [text for attack in attacks for text in attack["wrong"]]
    wrong += [text for read in document["read"].values() for text in read["broken"]]
    wrong += [f"written: {path}" for path in document["written_elsewhere"]]
    if wrong:
        lines += ["", "## Errors", "", *(f"- {text}" for text in wrong)]
    return "\n".join(lines) + "\n"


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


def _by_family(read: Mapping[str, Any], attacks: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    yield (
        f"Read directly: {read['cpu_seconds']:,} s of CPU time in total; at most "
        f"{read['most_cpu_seconds']} s and {read['most_growth_mib']:,} MiB of memory for one file."
    )
    yield ""
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
    yield from table(
        ("family", "files", *titles, "max. CPU s", "max. MiB"),
        (
            [
                family,
                str(sum(attacks[0]["families"][family].values())),
                *(str(attack["families"][family][outcome] or "") for attack, outcome in columns),
                str(figures["most_cpu_seconds"]),
                f"{figures['most_growth_mib']:,}",
            ]
            for family, figures in read["families"].items()
        ),
    )
