"""The outcomes as JSON and as a table in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks.fault_drills.drills import ALL
from benchmarks.fault_drills.run import Outcome
from benchmarks.fault_drills.stack import HOUSEKEEPING
from benchmarks.skeleton.report import heading, table

LIMIT_HEARTBEATS = 3.0
"""The job of a dead worker must be queued again within this many heartbeats."""
_COLUMNS = ("repeats", "right", "lost", "doubled", "resumed", "resumed_identical")


def figures(outcome: Outcome) -> dict[str, Any]:
    """Return all figures of one drill for JSON, with every repeat."""
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


def markdown(document: Mapping[str, Any]) -> str:
    """Return the table, a description of its columns, and what went wrong."""
    settings, drills = document["settings"], document["drills"]
    lines = [
        "# Fault drills",
        "",
        *heading(document),
        "",
        f"Database: {settings['database']}. Seed: {settings['seed']}. All parts are real "
        "processes. The seed draws the moment of each fault from the whole life of a job.",
        "",
        *table(
            (
                *("drill", "repeats", "right", "lost", "doubled", "resumed", "bit-identical"),
                *("requeued after: median, max", "orphaned files", "after `dspt gc`"),
            ),
            (_row(drill) for drill in drills if not drill["skipped"]),
        ),
        "",
        "Right: every job ended once, in the expected state, with valid state transitions and "
        "consecutively numbered events; it has one model, whose artefact loads and matches its "
        "digest; and the next job succeeded. Lost, doubled: repeats with a job that did not end "
        "so, or that ended or exists twice. Resumed: jobs that were started again after the fault "
        "and succeeded. Bit-identical: resumed jobs with the same tensors as an undisturbed job. "
        "Requeued: heartbeats from the death of a worker until its job was queued again, or ended. "
        "Orphaned files: files in the storage without a database row.",
        "",
        *([document["note"], ""] if "note" in document else []),
        *(f"- {drill['name']}: {_what(drill)}" for drill in drills),
    ]
    wrong = [
        f"- {drill['name']} {number} ({repeat['moment']}): {what}"
        for drill in drills
        for number, repeat in enumerate(drill["every_repeat"])
        for what in repeat["verdict"]["lost"] + repeat["verdict"]["doubled"]
    ]
    if wrong:
        lines += ["", "## Errors", "", *wrong]
    return "\n".join(lines) + "\n"


def _row(drill: Mapping[str, Any]) -> list[str]:
    requeue = drill["requeue_heartbeats"]
    requeued = f"{requeue['median']:.1f}, {requeue['max']:.1f}" if requeue["count"] else ""
    return [
        drill["name"],
        *(str(drill[column]) for column in _COLUMNS),
        requeued,
        str(drill["orphaned_files"]),
        str(drill["orphaned_files_after_gc"]),
    ]


def _what(drill: Mapping[str, Any]) -> str:
    """Return the description of today, also for a stored result; and why it was skipped."""
    what = next((known.what for known in ALL if known.name == drill["name"]), drill["what"])
    return what + (f" (skipped: {drill['skipped']})" if drill["skipped"] else "")
