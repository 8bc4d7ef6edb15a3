"""The measured figures as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.skeleton.report import Goal, goal_table, page, table
from benchmarks.tuning_speed.run import Timing
from benchmarks.tuning_speed.setup import SHOTS
from benchmarks.tuning_speed.stages import TEST_PHOTOS, WRONG_LABELS

GIB = 1 << 30
Row = Mapping[str, Any]
"""Of a stage of a whole job."""
LEAST_RATIOS = {"f32": (15, 25), "bf16 to plain f32": (40, 60)}
"""Plain / ours that a text step and an epoch should reach."""
JOB_SECONDS = {100: 60, 1000: 360}
"""Classes -> seconds that a job should take, photos encoded before."""


def markdown(document: Mapping[str, Any]) -> str:
    settings, stages = document["settings"], document.get("stages", [])
    results = {name: [Timing.of(row) for row in rows] for name, rows in document["timings"].items()}
    goals = [goal for backbone, found in results.items() for goal in _goals(backbone, found)]
    goals += _job_goals(stages)
    blocks: list[str | list[str]] = []
    if results:
        blocks.append(
            f"Seed {settings['seed']}, random weights, {settings['n_ctx']} context vectors, "
            f"batches of {settings['batch']}, {settings['shots']} shots, {settings['epochs']} "
            f"epochs, {settings['photos']} generated photos of 500 x 375."
        )
        blocks.append(_NOTES)
    for name, timings in results.items():
        blocks += [f"## {name}", _timings(timings), _ratios(timings)]
    if stages:
        blocks += ["## Whole jobs", _STAGES, _stages(stages)]
    blocks += ["## Goals", goal_table(goals)]
    return page("Speed of prompt tuning", document, *blocks)


_NOTES = """\
- plain: image tower on every batch, 77 tokens for every class, as in CoOp and NLPrompt. ours: \
photos encoded once, shared prefix.
- Steps are measured in turns; the table has medians. Epoch and job are derived from them; a job \
of ours includes encoding the photos.
- CPU: time of all CPUs together, which other programs do not lengthen.
- Ratios compare equal precision; `bf16 to plain f32` compares ours in bfloat16 with the plain \
trainer in float32.
- \\*: scaled from fewer classes, because all would not fit into memory."""


_STAGES = f"""\
A job with the default settings and the backbone `builtin` on {SHOTS} small generated photos a \
class, {WRONG_LABELS:.0%} of them with a wrong label, and {TEST_PHOTOS} test photos. Time by the \
clock and of all CPUs, and the largest memory of each stage in addition to the loaded model, \
libraries included that the stage loads. A job whose photos are cached does not encode them."""


def pairs(timings: Sequence[Timing], classes: int) -> list[tuple[str, Timing, Timing]]:
    """Return what to compare: equal precisions, then ours in bfloat16 with plain in float32."""
    by = {(t.trainer, t.precision): t for t in timings if t.classes == classes}
    compared = {
        "f32": ("float32", "float32"),
        "bf16": ("bfloat16", "bfloat16"),
        "bf16 to plain f32": ("float32", "bfloat16"),
    }
    return [
        (name, by["plain", plain], by["ours", ours])
        for name, (plain, ours) in compared.items()
        if ("ours", ours) in by
    ]


def seconds(value: float) -> str:
    """Return a readable time: 12 ms, 3.4 s, 5.6 min, 7.8 h."""
    if value < 1:
        return f"{1000 * value:.0f} ms"
    if value < 100:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 6000 else f"{value / 3600:.1f} h"


def _timings(timings: Sequence[Timing]) -> list[str]:
    def row(t: Timing) -> list[str]:
        star = "\\*" if t.step_scaled_from else ""
        return [
            str(t.classes),
            t.trainer,
            t.precision,
            *(seconds(value) + star for value in (t.text_step, t.text_step_cpu, t.step)),
            seconds(t.epoch),
            seconds(t.job),
            f"{t.memory_beyond_model / GIB:.2f}{star}",
            *(
                "" if value is None else f"{value:.1e}"
                for value in (t.context_difference, t.context_moved)
            ),
        ]

    ordered = sorted(timings, key=lambda t: (t.classes, t.precision, t.trainer != "plain"))
    header = ["classes", "trainer", "precision", "text step", "its CPU", "step", "epoch", "job"]
    header += ["GiB beyond model", "context differs by", "of"]
    return table(header, map(row, ordered), left=3)


def _ratios(timings: Sequence[Timing]) -> list[str]:
    rows = [
        [
            str(classes),
            name,
            *(f"{ratio:.1f}" for ratio in (*_text_ratios(plain, ours), *_ratios_of(plain, ours))),
            f"{plain.job / ours.job:.1f}",
        ]
        for classes in sorted({t.classes for t in timings})
        for name, plain, ours in pairs(timings, classes)
    ]
    header = ["classes", "plain / ours", "text step", "by CPU", "epoch", "by CPU", "job"]
    return table(header, rows, left=2)


def _jobs(stages: Sequence[Row]) -> list[Row]:
    """Return, for each job, all its stages after the encoding as one row."""
    jobs: dict[int, list[Row]] = {row["classes"]: [] for row in stages}
    for row in stages:
        if row["stage"] != "encoding":
            jobs[row["classes"]].append(row)
    return [
        {
            "classes": classes,
            "stage": "all but encoding",
            **{name: sum(row[name] for row in rows) for name in ("seconds", "cpu_seconds")},
            "mib": max(row["mib"] for row in rows),
        }
        for classes, rows in jobs.items()
    ]


def _stages(stages: Sequence[Row]) -> list[str]:
    cells = [
        [
            str(row["classes"]),
            row["stage"],
            *(seconds(row[name]) for name in ("seconds", "cpu_seconds")),
            f"{row['mib']:,.0f}",
        ]
        for row in sorted([*stages, *_jobs(stages)], key=lambda row: row["classes"])
    ]
    return table(["classes", "stage", "time", "CPU", "MiB beyond model"], cells, left=2)


def _job_goals(stages: Sequence[Row]) -> Iterator[Goal]:
    """Yield the goals of whole jobs with cached features."""
    evaluating = {row["classes"]: row for row in stages if row["stage"] == "evaluating"}
    for job in _jobs(stages):
        name, taken, gib = (
            f"whole job, {job['classes']:,} classes",
            job["seconds"],
            job["mib"] / 1024,
        )
        part = evaluating[job["classes"]]["seconds"] / taken
        yield f"{name}: evaluating at most a fifth", f"{part:.0%}", part <= 0.2
        if limit := JOB_SECONDS.get(job["classes"]):
            yield f"{name}: within {seconds(limit)}", seconds(taken), taken <= limit
            yield f"{name}: within 2 GiB", f"{gib:.2f} GiB", gib <= 2


def _goals(backbone: str, timings: Sequence[Timing]) -> Iterator[Goal]:
    """Yield the goals that these cases can show."""
    for name, plain, ours in pairs(timings, 100):
        for what, least, ratios in zip(
            ("text step", "epoch"),
            LEAST_RATIOS.get(name, ()),
            (_text_ratios(plain, ours), _ratios_of(plain, ours)),
            strict=False,
        ):
            # other programs lengthen the plain trainer's longer steps: both ratios must do
            measured = f"{ratios[0]:.1f} x, by CPU time {ratios[1]:.1f} x"
            goal = f"{backbone}, 100 classes, {name}: {what} {least} x"
            yield goal, measured, min(ratios) >= least
    for t in timings:
        if t.trainer != "ours":
            continue
        if t.classes == 1000:
            gib = t.memory_beyond_model / GIB
            goal = f"{backbone}, 1,000 classes, {t.precision}: within 4 GiB"
            yield goal, f"{gib:.2f} GiB", gib <= 4
        if t.precision == "float32" and t.context_difference is not None:
            measured = f"{t.context_difference:.1e} of {t.context_moved:.1e} moved"
            goal = f"{backbone}, {t.classes} classes: same context to 1e-4"
            yield goal, measured, t.context_difference <= 1e-4


def _text_ratios(plain: Timing, ours: Timing) -> tuple[float, float]:
    """Return plain / ours for the text step, by clock and by CPU time."""
    return plain.text_step / ours.text_step, plain.text_step_cpu / ours.text_step_cpu


def _ratios_of(plain: Timing, ours: Timing) -> tuple[float, float]:
    """Return plain / ours for an epoch, by clock and by CPU time."""
    return plain.epoch / ours.epoch, plain.step_cpu / ours.step_cpu
