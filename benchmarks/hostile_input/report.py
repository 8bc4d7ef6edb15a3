"""The findings as JSON, and as tables by family in Markdown."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from benchmarks.hostile_input.case import Case
from benchmarks.hostile_input.reader import Reading
from benchmarks.hostile_input.run import Attack, Findings
from benchmarks.hostile_input.send import Outcome

_MIB = 1 << 20
_OUTCOMES: tuple[str, ...] = get_args(Outcome)
_MEANINGS = {
    "refused": "refused (4xx)",
    "failed": "job failed",
    "rejected": "files rejected",
    "harmless": "taken, harmless",
    "wrong": "wrong",
}


def document(
    command: str, machine: dict[str, Any], seed: int, findings: Findings
) -> dict[str, Any]:
    """All figures for JSON."""
    watched = findings.watched
    return {
        "command": command,
        "machine": machine,
        "seed": seed,
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
        "most_cpu_seconds": round(max(reading.cpu_seconds for _, reading in found), 2),
        "most_growth_mib": max(reading.growth_bytes for _, reading in found) // _MIB,
        "broken": [f"{c.name}: {r.said}" for c, r in found if r.outcome == "broken"],
        "families": {
            family: {
                "most_cpu_seconds": round(max(r.cpu_seconds for r in readings), 2),
                "most_growth_mib": max(r.growth_bytes for r in readings) // _MIB,
            }
            for family, readings in families.items()
        },
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
    """The tables, and what they are of."""
    machine = document["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    lines = [
        "# Hostile input",
        "",
        f"`{document['command']}`",
        "",
        f"{machine['processor']}, {machine['cpus']} CPUs, load {machine['load_at_start']:.1f} at "
        f"the start; Python {machine['python']}, {versions}; seed {document['seed']}.",
        "",
        *_summary(document),
        "",
        *_in_all(document["attacks"]),
    ]
    for kind, title in (("archive", "Archives"), ("image", "Images")):
        attacks = [
            a for a in document["attacks"] if (a["name"] == "as jobs") == (kind == "archive")
        ]
        lines += ["", f"## {title}", "", *_by_family(document["read"][kind], attacks)]
    wrong = [text for attack in document["attacks"] for text in attack["wrong"]]
    wrong += [text for read in document["read"].values() for text in read["broken"]]
    wrong += [f"written: {path}" for path in document["written_elsewhere"]]
    if wrong:
        lines += ["", "## What went wrong", "", *(f"- {text}" for text in wrong)]
    return "\n".join(lines) + "\n"


def _summary(document: Mapping[str, Any]) -> Iterable[str]:
    memory, disk = document["memory_mib"], document["disk_mib"]
    peaks = ", ".join(
        f"{name} {m['peak']:,} (before: {m['before']:,})" for name, m in memory.items()
    )
    same = "the same processes as before" if document["same_processes"] else "other processes"
    written = len(document["written_elsewhere"])
    return [
        f"Peak memory in MiB while the service was attacked: {peaks}. Peak disk: "
        f"{disk['peak']:,} MiB in the data directory, {disk['temporary_peak']:,} MiB in the "
        f"temporary one. At the end {same} run, a sound job {document['sound_job_afterwards']}, "
        f"and {written} files lie where none belong.",
    ]


def _in_all(attacks: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    yield "| | files | " + " | ".join(_MEANINGS.values()) + " | seconds |"
    yield "|---|" + "---:|" * (2 + len(_MEANINGS))
    for attack in attacks:
        counts = " | ".join(str(attack["outcomes"][outcome]) for outcome in _MEANINGS)
        yield f"| {attack['name']} | {attack['files']} | {counts} | {attack['seconds']:,.0f} |"


def _by_family(read: Mapping[str, Any], attacks: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    yield (
        f"Read directly: {read['cpu_seconds']:,} s of one CPU in all, {read['most_cpu_seconds']} s "
        f"and {read['most_growth_mib']:,} MiB of memory at the most for one file."
    )
    yield ""
    shown = [[o for o in _MEANINGS if attack["outcomes"][o] or o == "wrong"] for attack in attacks]
    several = len(attacks) > 1
    titles = [
        f"{attack['name']}: {_MEANINGS[o]}" if several else _MEANINGS[o]
        for attack, outcomes in zip(attacks, shown, strict=True)
        for o in outcomes
    ]
    yield "| family | files | " + " | ".join(titles) + " | most CPU s | most MiB |"
    yield "|---|" + "---:|" * (3 + len(titles))
    for family, figures in read["families"].items():
        found = [attack["families"][family] for attack in attacks]
        files = sum(found[0].values())
        counts = [f[o] or "" for f, outcomes in zip(found, shown, strict=True) for o in outcomes]
        yield (
            f"| {family} | {files} | {' | '.join(map(str, counts))} "
            f"| {figures['most_cpu_seconds']} | {figures['most_growth_mib']:,} |"
        )
