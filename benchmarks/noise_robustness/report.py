"""The result as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.noise_robustness.settings import CLEAN, LABELS
from benchmarks.noise_robustness.summary import TOLERANCE, Gap, Goals, Results, goals
from benchmarks.skeleton.report import Spread, page, spread_note, table

PROTOCOLS = {
    "global": "protocol `global`: a share of all few shots is flipped",
    "per_class": "protocol `per_class`: the same number of labels is flipped in every class",
    "human": "labels by human annotators",
    "clean": "labels as they are",
}


def markdown(document: Mapping[str, Any]) -> str:
    """Return the text of table.md."""
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
                *_standing(goals(results, noises), results, noises),
            ]
            for kind, columns in results.kinds(noises).items():
                blocks += [f"### {kind.capitalize()}", "\n".join(_table(results, columns))]
            if results.has_unlabelled:
                blocks += ["### With unlabelled photos", *_gains(results, noises)]
    return page("Accuracy under label noise", document, *blocks)


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """Return PNG and SVG files by name."""
    from benchmarks.noise_robustness.figures import accuracy_figures, gradient_figure

    return accuracy_figures(document) | gradient_figure(document)


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


def _standing(found: Goals, results: Results, noises: Sequence[str]) -> list[str]:
    if not found.cells:
        return ["No cell is finished."]
    means = "; ".join(f"{LABELS[method]} {mean:.1f}" for method, mean in found.means.items())
    summary = f"Mean over {found.cells} cells (data set x noise): {means}."
    if "default" not in found.means:
        return [summary]
    lines = []
    if found.best_single is not None:
        points = found.means["default"] - found.means[found.best_single]
        lines.append(
            f"- This service minus the best single loss ({LABELS[found.best_single]}): "
            f"{points:+.1f} points. The best loss of each cell, known only in hindsight, has "
            f"{found.hindsight:.1f}."
        )
    if found.to_zero_shot:
        cells, runs = found.to_zero_shot, found.run_to_zero_shot
        below = [gap for gap in cells if gap.points < -TOLERANCE]
        below_runs = [gap for gap in runs if gap.points < -TOLERANCE]
        listed = f" ({', '.join(map(_gap, below))})" if below else ""
        lines += [
            f"- More than {TOLERANCE} points below zero-shot, by mean over seeds: {len(below)} of "
            f"{found.cells} cells{listed}; the worst cell is {_gap(cells[0])}.",
            f"- The same for single runs: {len(below_runs)} of {len(runs)}; the worst is "
            f"{_gap(runs[0])}.",
        ]
    if found.to_ce_when_clean:
        gaps = ", ".join(f"{gap.dataset} {gap.points:+.1f}" for gap in found.to_ce_when_clean)
        lines.append(f"- This service minus CE (CoOp) at 0 % wrong labels: {gaps}.")
    served: Counter[str] = sum((results.served[noise] for noise in noises), Counter())
    counts = ", ".join(f"{name} in {count}" for name, count in served.items())
    lines.append(f"- Classifier that this service chose: {counts} runs.")
    return [summary, "\n".join(lines)]


def _gap(gap: Gap) -> str:
    seed = "" if gap.seed is None else f", seed {gap.seed}"
    return f"{gap.dataset} {short(gap.noise)}{seed}: {gap.points:+.1f}"
