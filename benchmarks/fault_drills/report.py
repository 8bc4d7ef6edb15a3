"""The outcomes as JSON and as a table in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks.fault_drills.run import Outcome
from benchmarks.fault_drills.stack import HOUSEKEEPING

LIMIT_HEARTBEATS = 3.0
"""Within so many a dead worker's job has to be queued again."""


def document(
    command: str, machine: dict[str, Any], settings: dict[str, Any], outcomes: Sequence[Outcome]
) -> dict[str, Any]:
    """All figures for JSON, with every repeat."""
    return {
        "command": command,
        "machine": machine,
        "settings": settings | {"housekeeping_seconds": HOUSEKEEPING},
        "drills": [_figures(outcome) for outcome in outcomes],
    }


def _figures(outcome: Outcome) -> dict[str, Any]:
    verdicts = [repeat.verdict for repeat in outcome.repeats]
    heartbeat = outcome.drill.shape.heartbeat
    requeues = [beats for verdict in verdicts for beats in verdict.requeue_heartbeats]
    return {
        "name": outcome.drill.name,
        "what": outcome.drill.what,
        "skipped": outcome.skipped,
        "heartbeat_seconds": heartbeat,
        "repeats": len(verdicts),
        "right": sum(verdict.right for verdict in verdicts),
        "lost": sum(bool(verdict.lost) for verdict in verdicts),
        "doubled": sum(bool(verdict.doubled) for verdict in verdicts),
        "resumed": sum(verdict.resumed for verdict in verdicts),
        "resumed_identical": sum(verdict.identical for verdict in verdicts),
        "resumed_from_checkpoint": sum(verdict.from_checkpoint for verdict in verdicts),
        "requeue_heartbeats": {
            "count": len(requeues),
            "median": round(median(requeues), 2) if requeues else None,
            "max": round(max(requeues), 2) if requeues else None,
            "late": sum(beats > LIMIT_HEARTBEATS + HOUSEKEEPING / heartbeat for beats in requeues),
        },
        "orphaned_files": sum(len(repeat.orphans) for repeat in outcome.repeats),
        "orphaned_files_after_gc": outcome.orphans_left,
        "undisturbed_seconds": round(outcome.undisturbed_seconds, 2),
        "seconds": round(sum(repeat.seconds for repeat in outcome.repeats), 1),
        "moments": dict(
            Counter(repeat.moment.partition(",")[0] for repeat in outcome.repeats).most_common()
        ),
        "every_repeat": [asdict(repeat) for repeat in outcome.repeats],
    }


def markdown(document: dict[str, Any]) -> str:
    """The table, with what went wrong under it."""
    machine, settings = document["machine"], document["settings"]
    drills = document["drills"]
    lines = [
        "# Fault drills",
        "",
        f"`{document['command']}`",
        "",
        f"{machine['processor']}, {machine['cpus']} CPUs, load {machine['load_at_start']:.1f} at "
        f"the start; Python {machine['python']}, "
        + ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
        + f". Database {settings['database']}, seed {settings['seed']}. Real processes; each harm "
        "comes at a moment that the seed draws from the whole life of a job.",
        "",
        "| drill | repeats | right | lost | doubled | resumed | bit-identical "
        "| requeued after: median, max | orphaned files | after gc |",
        "|" + "---|" * 10,
        *(_row(drill) for drill in drills if not drill["skipped"]),
        "",
        "Right: every job ended once in the state that it has to end in, by legal steps with "
        "events numbered without a gap, with one model whose artefact loads and matches its "
        "digest, and a further job succeeded. Resumed: taken up again after the harm, and "
        "succeeded; bit-identical: those whose tensors are the ones of an undisturbed job. "
        "Requeued: heartbeats from the death of a worker that had a job until the job was queued "
        "again, or ended.",
        "",
        *(f"- {drill['name']}: {drill['what']}{_skipped(drill)}" for drill in drills),
    ]
    wrong = [
        f"- {drill['name']} {number} ({repeat['moment']}): {what}"
        for drill in drills
        for number, repeat in enumerate(drill["every_repeat"])
        for what in repeat["verdict"]["lost"] + repeat["verdict"]["doubled"]
    ]
    if wrong:
        lines += ["", "## What went wrong", "", *wrong]
    return "\n".join(lines) + "\n"


def _row(drill: dict[str, Any]) -> str:
    requeue = drill["requeue_heartbeats"]
    requeued = f"{requeue['median']:.1f}, {requeue['max']:.1f}" if requeue["count"] else ""
    return (
        f"| {drill['name']} | {drill['repeats']} | {drill['right']} | {drill['lost']} "
        f"| {drill['doubled']} | {drill['resumed']} | {drill['resumed_identical']} | {requeued} "
        f"| {drill['orphaned_files']} | {drill['orphaned_files_after_gc']} |"
    )


def _skipped(drill: dict[str, Any]) -> str:
    return f" (skipped: {drill['skipped']})" if drill["skipped"] else ""
