"""The measured figures as tables in Markdown and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.tuning_speed.growth import GrowthRow
from benchmarks.tuning_speed.measure import VIEWS, Timing
from benchmarks.tuning_speed.setup import BATCH, EPOCHS, PHOTOS, SHOTS
from dspt.kit.cpus import available_cpus

GIB = 1 << 30
Results = dict[str, list[Timing]]
"""Timings by backbone."""


def machine(device: str) -> dict[str, Any]:
    """Processor and versions; no name of the machine."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        processor = models[0].split(":")[1].strip() if models else processor
    found: dict[str, Any] = {
        "processor": processor,
        "cpus": available_cpus(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "bfloat16_instructions": bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()),
        "load_at_start": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "open_clip_torch", "numpy")},
    }
    if device != "cpu":
        found["gpu"] = torch.cuda.get_device_name()
        found["cuda"] = torch.version.cuda
    return found


def markdown(document: dict[str, Any], results: Results, growth: Sequence[GrowthRow]) -> str:
    """All tables, with what they are of."""
    about = document["machine"]
    lines = [
        "# Speed of prompt tuning",
        "",
        f"`{document['command']}`",
        "",
        f"{about.get('gpu', about['processor'])}, {about['cpus']} CPUs, "
        f"load {about['load_at_start']:.1f} at the start; "
        f"Python {about['python']}, "
        + ", ".join(f"{name} {number}" for name, number in about["versions"].items())
        + f". Seed {document['settings']['seed']}, random weights, "
        f"{document['settings']['n_ctx']} context vectors, batches of {BATCH}, {SHOTS} shots, "
        f"{EPOCHS} epochs, {PHOTOS} generated photos of 500 x 375.",
        "",
        "plain: image tower on every batch, 77 tokens for every class, as CoOp and NLPrompt do it. "
        "ours: photos encoded once, shared prefix. Steps are measured by turns, medians; epoch and "
        f"job are derived from them (a job of ours includes encoding; + views: with {VIEWS} "
        "augmented views of every photo). Ratios compare equal precision, `bf16 to plain f32` ours "
        "in bfloat16 with the plain trainer in float32; `CPU` is the time of all CPUs, which other "
        "programs do not lengthen. * scaled from fewer classes, because all "
        "would not fit into memory.",
    ]
    for backbone, timings in results.items():
        lines += ["", f"## {backbone}", "", *_timings(timings), "", *_ratios(timings)]
    if growth:
        lines += ["", "## Growth of our text step", "", *_growth(growth)]
    lines += ["", "## Goals", "", *_goals(results)]
    return "\n".join(lines) + "\n"


def document(
    command: str, settings: dict[str, Any], results: Results, growth: Sequence[GrowthRow]
) -> dict[str, Any]:
    """All figures for JSON."""
    return {
        "command": command,
        "machine": machine(settings["device"]),
        "settings": settings | {"batch": BATCH, "shots": SHOTS, "epochs": EPOCHS, "photos": PHOTOS},
        "timings": {name: [t.document() for t in found] for name, found in results.items()},
        "growth": [
            asdict(row) | {"cpu_microseconds_per_token": row.cpu_microseconds_per_token}
            for row in growth
        ],
    }


def _timings(timings: Sequence[Timing]) -> list[str]:
    rows = []
    for t in sorted(timings, key=lambda t: (t.classes, t.precision, t.trainer != "plain")):
        star = "*" if t.step_scaled_from else ""
        same = "" if t.context_difference is None else f"{t.context_difference:.1e}"
        moved = "" if t.context_moved is None else f"{t.context_moved:.1e}"
        views = seconds(t.job(VIEWS)) if t.trainer == "ours" else ""
        rows.append(
            f"| {t.classes} | {t.trainer} | {t.precision} | {seconds(t.text_step)}{star} "
            f"| {seconds(t.text_step_cpu)}{star} "
            f"| {seconds(t.step)}{star} | {seconds(t.epoch)} | {seconds(t.job())} | {views} "
            f"| {t.memory_beyond_model / GIB:.2f}{star} | {same} | {moved} |"
        )
    return [
        "| classes | trainer | precision | text step | its CPU | step | epoch | job | job + views "
        "| GiB beyond model | context differs by | of |",
        "|" + "---|" * 12,
        *rows,
    ]


def _ratios(timings: Sequence[Timing]) -> list[str]:
    rows = []
    for classes in sorted({t.classes for t in timings}):
        for name, plain, ours in pairs(timings, classes):
            rows.append(
                f"| {classes} | {name} | {plain.text_step / ours.text_step:.1f} "
                f"| {plain.text_step_cpu / ours.text_step_cpu:.1f} "
                f"| {plain.epoch / ours.epoch:.1f} | {plain.step_cpu / ours.step_cpu:.1f} "
                f"| {plain.job() / ours.job():.1f} "
                f"| {plain.job() / ours.job(VIEWS):.1f} |"
            )
    return [
        "| classes | plain / ours | text step | by CPU | epoch | by CPU | job | job + views |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
    ]


def pairs(timings: Sequence[Timing], classes: int) -> list[tuple[str, Timing, Timing]]:
    """What is compared: equal precisions, then ours in bfloat16 with plain in float32."""
    by = {(t.trainer, t.precision): t for t in timings if t.classes == classes}
    found = [("f32", by["plain", "float32"], by["ours", "float32"])]
    if ("ours", "bfloat16") in by:
        found.append(("bf16", by["plain", "bfloat16"], by["ours", "bfloat16"]))
        found.append(("bf16 to plain f32", by["plain", "float32"], by["ours", "bfloat16"]))
    return found


def _growth(growth: Sequence[GrowthRow]) -> list[str]:
    return [
        "| what | precision | suffix tokens | runs | step | CPU | CPU us per token and run |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {row.what} | {row.precision} | {row.tokens} | {row.runs} "
            f"| {seconds(row.seconds)} | {seconds(row.cpu_seconds)} "
            f"| {row.cpu_microseconds_per_token:.0f} |"
            for row in growth
        ),
    ]


def _goals(results: Results) -> list[str]:
    """Each goal of the project that these cases say something on, and whether it is met."""
    rows = []

    def add(backbone: str, goal: str, found: str, met: bool) -> None:
        rows.append(f"| {backbone} | {goal} | {found} | {'yes' if met else 'no'} |")

    for backbone, timings in results.items():
        for name, text_goal, epoch_goal in (("f32", 15, 25), ("bf16 to plain f32", 40, 60)):
            for found, plain, ours in pairs(timings, 100) if _has(timings, 100) else []:
                if found == name:
                    text = (
                        plain.text_step / ours.text_step,
                        plain.text_step_cpu / ours.text_step_cpu,
                    )
                    epoch = plain.epoch / ours.epoch, plain.step_cpu / ours.step_cpu
                    what = f"100 classes, {name}"
                    add(backbone, f"{what}: text step {text_goal} x", *_reached(text, text_goal))
                    add(backbone, f"{what}: epoch {epoch_goal} x", *_reached(epoch, epoch_goal))
        for t in timings:
            if t.trainer == "ours" and t.classes == 1000:
                gib = t.memory_beyond_model / GIB
                add(
                    backbone,
                    f"1,000 classes, {t.precision}: within 4 GiB",
                    f"{gib:.2f} GiB",
                    gib <= 4,
                )
            if (
                t.trainer == "ours"
                and t.precision == "float32"
                and t.context_difference is not None
            ):
                add(
                    backbone,
                    f"{t.classes} classes: same context to 1e-4",
                    f"{t.context_difference:.1e} of {t.context_moved:.1e} moved",
                    t.context_difference <= 1e-4,
                )
    return ["| backbone | goal | measured | met |", "|---|---|---|---|", *rows]


def _reached(ratios: tuple[float, float], goal: float) -> tuple[str, bool]:
    """By the clock and by CPU time; on a busy machine the first flatters, so both must do."""
    clock, cpu = ratios
    return f"{clock:.1f} x, by CPU time {cpu:.1f} x", min(ratios) >= goal


def _has(timings: Sequence[Timing], classes: int) -> bool:
    return any(t.classes == classes for t in timings)


def seconds(value: float) -> str:
    """For reading: 12 ms, 3.4 s, 5.6 min, 7.8 h."""
    if value < 1:
        return f"{1000 * value:.0f} ms"
    if value < 100:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 6000 else f"{value / 3600:.1f} h"
