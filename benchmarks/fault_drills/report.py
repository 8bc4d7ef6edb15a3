"""The outcomes as a table in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.fault_drills.drills import ALL
from benchmarks.skeleton.report import page, table

_COLUMNS = ("repeats", "right", "lost", "doubled", "resumed", "resumed_identical")


def markdown(document: Mapping[str, Any]) -> str:
    """Return the table, a description of its columns, and what went wrong."""
    settings, drills = document["settings"], document["drills"]
    header: tuple[str, ...] = (
        "drill",
        "repeats",
        "right",
        "lost",
        "doubled",
        "resumed",
        "bit-identical",
    )
    header += ("requeued after: median, max", "orphaned files", "after `dspt gc`")
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
        table(header, (_row(drill) for drill in drills if not drill["skipped"])),
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
