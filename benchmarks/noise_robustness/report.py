"""The result as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from statistics import fmean
from typing import Any

from benchmarks.noise_robustness.settings import CLEAN, LABELS
from benchmarks.noise_robustness.summary import Results
from benchmarks.skeleton.report import Spread, page, spread_note, table

TOLERANCE = 0.5
"""Points that this service may fall below zero-shot."""
PROTOCOLS = {
    "global": "protocol `global`: a share of all few shots is flipped",
    "per_class": "protocol `per_class`: the same number of labels is flipped in every class",
    "human": "labels by human annotators",
    "clean": "labels as they are",
}


def markdown(document: Mapping[str, Any]) -> str:
    records, settings = document["cells"], document["settings"]
    blocks = [
        "Accuracy in percent on clean test images. Backbone "
        f"`{settings['backbone']}` ({document['backbone_digest'][:12]}), "
        f"{document['dtype'].removeprefix('torch.')}.",
        *unfinished(document),
    ]
    for shots in sorted({record["shots"] for record in records}):
        of_shots = [record for record in records if record["shots"] == shots]
        results = Results(of_shots)
        for protocol, noises in results.sections().items():
            seeds = seeds_of(of_shots, noises)
            clean = seeds_of(of_shots, [CLEAN.name])
            also = f"; 0 %: {spread_note(clean)}" if clean not in ([], seeds) else ""
            blocks += [
                f"## {shots} shots, {PROTOCOLS[protocol]}",
                f"Each value: {spread_note(seeds)}{also}.",
                *_standing(results, noises),
            ]
            for kind, columns in results.kinds(noises).items():
                blocks += [f"### {kind.capitalize()}", "\n".join(_table(results, columns))]
            if results.has_unlabelled:
                blocks += ["### With unlabelled photos", *_gains(results, noises)]
    return page("Accuracy under label noise", document, *blocks)


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """Return PNG and SVG files by name."""
    from benchmarks.noise_robustness.figures import accuracy_figures

    return accuracy_figures(document)


def unfinished(document: Mapping[str, Any]) -> list[str]:
    """Return a line if the run was interrupted, and one per cell that failed."""
    found = []
    if document.get("interrupted"):
        found.append(f"**Interrupted** after {len(document['cells'])} cells.")
    return found + [f"**Failed:** {cell}: {error}" for cell, error in document["failed"].items()]


def seeds_of(records: Sequence[Mapping[str, Any]], noises: Sequence[str]) -> list[int]:
    """Return the seeds of the cells with these noises, CLEAN aside if there are others."""
    wrong = [noise for noise in noises if noise != CLEAN.name] or list(noises)
    return sorted({record["seed"] for record in records if record["noise"]["name"] in wrong})


def short(name: str) -> str:
    """Return a noise as it is shown: `symmetric 25 %` for `global-symmetric-25`."""
    if name == CLEAN.name:
        return "0 %"
    first, _, rest = name.partition("-")
    kind, _, rate = rest.partition("-")
    return f"human, {rest}" if first == "human" else f"{kind} {rate} %"


def _table(results: Results, noises: Sequence[str]) -> list[str]:
    names = [short(noise).split("metric ")[-1] for noise in noises]  # the heading has the kind

    def label(method: str) -> str:
        return f"**{LABELS[method]}**" if method == "default" else LABELS[method]

    def row(title: str, method: str, dataset: str | None) -> list[str]:
        scores = [
            results.score(method, dataset, noise)
            if dataset is not None
            else results.mean_score(method, noise)
            for noise in noises
        ]
        return [title, label(method), *(score.text() if score else "–" for score in scores)]

    rows = [row(data, method, data) for data in results.datasets for method in results.methods]
    if len(results.datasets) > 1:
        rows += [row("**mean**", method, None) for method in results.methods]
    return table(["data", "method", *names], rows, left=2)


def _gains(results: Results, noises: Sequence[str]) -> list[str]:
    """Return what unlabelled photos change, by data set and noise."""
    text = "Another setting: the training images that were not drawn, without their labels. Points "
    text += "of accuracy that they add to this service, and the worst single run."
    rows, all_gains = [], []
    for dataset in results.datasets:
        row = [dataset]
        for noise in noises:
            gains = results.gains(dataset, noise)
            all_gains += gains
            row.append(f"{Spread.of(gains).text('+.1f')} ({min(gains):+.1f})" if gains else "–")
        rows.append(row)
    mean = f"Mean over {len(all_gains)} runs: {fmean(all_gains):+.1f}."
    return [text, "\n".join(table(["data", *map(short, noises)], rows, left=1)), mean]


def _standing(results: Results, noises: Sequence[str]) -> list[str]:
    """Return how this service compares over these noises.

    A cell is a data set and a noise; those that lack a method are ignored.
    """
    cells = [
        (dataset, noise)
        for dataset in results.datasets
        for noise in noises
        if all(results.runs(method, dataset, noise) for method in results.methods)
    ]
    if not cells:
        return ["No cell is finished."]

    def mean(method: str, cell: tuple[str, str]) -> float:
        return fmean(results.runs(method, *cell).values())

    means = {method: fmean(mean(method, cell) for cell in cells) for method in results.methods}
    listed = "; ".join(f"{LABELS[method]} {value:.1f}" for method, value in means.items())
    summary = f"Mean over {len(cells)} cells (data set x noise): {listed}."
    if "default" not in means:
        return [summary]
    lines = []
    if "zero_shot" in means:
        gaps = [(mean("default", cell) - mean("zero_shot", cell), _name(*cell)) for cell in cells]
        run_gaps = [
            (accuracy - results.runs("zero_shot", *cell)[seed], f"{_name(*cell)}, seed {seed}")
            for cell in cells
            for seed, accuracy in results.runs("default", *cell).items()
        ]
        below, below_runs = (
            [_gap(gap) for gap in sorted(found, key=itemgetter(0)) if gap[0] < -TOLERANCE]
            for found in (gaps, run_gaps)
        )
        named = f" ({', '.join(below)})" if below else ""
        lines += [
            f"- More than {TOLERANCE} points below zero-shot, by mean over seeds: {len(below)} of "
            f"{len(cells)} cells{named}; the worst cell is {_gap(min(gaps, key=itemgetter(0)))}.",
            f"- The same for single runs: {len(below_runs)} of {len(run_gaps)}; the worst is "
            f"{_gap(min(run_gaps, key=itemgetter(0)))}.",
        ]
    return [summary, "\n".join(lines)]


def _name(dataset: str, noise: str) -> str:
    return f"{dataset} {short(noise)}"


def _gap(gap: tuple[float, str]) -> str:
    points, name = gap
    return f"{name}: {points:+.1f}"
