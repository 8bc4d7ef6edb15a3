"""The outcomes as a table in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from benchmarks.fault_drills.drills import ALL
from benchmarks.skeleton.report import page, table

_HEADER = (
    *("drill", "repeats", "right", "lost", "doubled", "resumed", "bit-identical"),
    *("requeued after: median, max", "orphaned files", "after `dspt gc`"),
)


def markdown(document: Mapping[str, Any]) -> str:
    settings, drills = document["settings"], document["drills"]
    wrong = [
        f"- {drill['name']} {number} ({repeat['moment']}): {what}"
        for drill in drills
        for number, repeat in enumerate(drill["every_repeat"])
        for what in repeat["verdict"]["lost"] + repeat["verdict"]["doubled"]
    ]
    return page(
        "Fault drills",
        document,
        f"Database: {settings['database']}. Seed: {settings['seed']}. All parts are real "
        "processes. The seed draws the moment of each fault from the whole life of a job.",
        table(_HEADER, (_row(drill) for drill in drills if not drill["skipped"])),
        "Right: every job ended once, in the expected state, with valid state transitions and "
        "consecutively numbered events; it has one model, whose artefact loads and matches its "
        "digest; and the next job succeeded. Lost, doubled: repeats with a job that did not end "
        "so, or that ended or exists twice. Resumed: jobs that were started again after the fault "
        "and succeeded. Bit-identical: resumed jobs with the same tensors as an undisturbed job. "
        "Requeued: heartbeats from the death of a worker until its job was queued again, or ended. "
        "Orphaned files: files in the storage without a database row.",
        document.get("note", ""),
        [f"- {drill['name']}: {_what(drill)}" for drill in drills],
        *(("## Errors", wrong) if wrong else ()),
    )


def _row(drill: Mapping[str, Any]) -> list[str]:
    repeats = drill["every_repeat"]
    verdicts = [repeat["verdict"] for repeat in repeats]
    beats = [found for verdict in verdicts for found in verdict["requeue_heartbeats"]]
    lost, doubled = ([bool(verdict[what]) for verdict in verdicts] for what in ("lost", "doubled"))
    counts = (
        *(len(repeats), len(repeats) - sum(map(max, lost, doubled)), sum(lost), sum(doubled)),
        *(sum(verdict[what] for verdict in verdicts) for what in ("resumed", "identical")),
    )
    return [
        *(drill["name"], *map(str, counts)),
        f"{median(beats):.1f}, {max(beats):.1f}" if beats else "",
        str(sum(len(repeat["orphans"]) for repeat in repeats)),
        str(drill["orphaned_files_after_gc"]),
    ]


def _what(drill: Mapping[str, Any]) -> str:
    """Return the description of today, also for a stored result; and why it was skipped."""
    what = next((known.what for known in ALL if known.name == drill["name"]), drill["what"])
    return what + (f" (skipped: {drill['skipped']})" if drill["skipped"] else "")
