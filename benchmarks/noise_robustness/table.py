"""The result as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.noise_robustness.settings import CLEAN
from benchmarks.noise_robustness.summary import TOLERANCE, Gap, Goals, Results, Score, goals

LABELS = {
    "zero_shot": "zero-shot",
    "ce": "CE (CoOp)",
    "gce": "GCE 0.7",
    "mae": "MAE",
    "dspt": "DSPT",
    "default": "**default**",
    "logistic": "logistic regression",
    "logistic_cleanlab": "the same, after cleanlab",
}
PROTOCOLS = {
    "global": "Protocol `global`: a share of all few shots is flipped",
    "per_class": "Protocol `per_class`: the same number of labels in every class",
    "human": "Labels given by people",
    "clean": "Labels as they are",
}


def markdown(document: Mapping[str, Any]) -> str:
    """The text of table.md from the content of results.json."""
    records = document["cells"]
    lines = ["# Accuracy under label noise", "", *_heading(document)]
    for shots in sorted({record["shots"] for record in records}):
        results = Results([record for record in records if record["shots"] == shots])
        for protocol, noises in results.sections().items():
            lines += ["", f"## {shots} shots. {PROTOCOLS[protocol]}", ""]
            lines += _standing(goals(results, noises), results, noises)
            for kind, columns in _by_kind(results, noises).items():
                lines += ["", f"### {kind.capitalize()}", ""]
                lines += _table(results, columns)
    return "\n".join(lines) + "\n"


def short(name: str) -> str:
    """`global-symmetric-25` -> `symmetric 25 %`."""
    if name == CLEAN.name:
        return "0 %"
    first, _, rest = name.partition("-")
    kind, _, rate = rest.partition("-")
    return f"human, {rest}" if first == "human" else f"{kind} {rate} %"


def _heading(document: Mapping[str, Any]) -> list[str]:
    seeds = document["settings"]["seeds"]
    machine = document["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    lines = [
        f"Percent of clean test images classified right; mean ± standard deviation over seeds "
        f"{', '.join(map(str, seeds))}. Backbone `{document['settings']['backbone']}` "
        f"({document['backbone_digest'][:12]}), {document['dtype'].removeprefix('torch.')}.",
        "",
        f"    {document['command']}",
        "",
        f"On {machine['processor']}, {machine['cpus']} CPUs, {machine['system']}; Python "
        f"{document['python']}, {packages}.",
    ]
    if document["other_versions"]:
        lines += ["", "**Some cells were made by other versions** (results.json)."]
    for cell, error in document["failed"].items():
        lines += ["", f"**Failed:** {cell}: {error}"]
    return lines


def _by_kind(results: Results, noises: Sequence[str]) -> dict[str, list[str]]:
    """Kind -> the columns of its table, the clean cell in each."""
    kinds = dict.fromkeys(results.noises[n]["kind"] for n in noises if n != CLEAN.name) or ["clean"]
    return {
        kind: [n for n in noises if n == CLEAN.name or results.noises[n]["kind"] == kind]
        for kind in kinds
    }


def _table(results: Results, noises: Sequence[str]) -> list[str]:
    names = [short(noise).split("metric ")[-1] for noise in noises]  # the heading has the kind
    lines = [_row("data", "method", *names), _row(":--", ":--", *["--:"] * len(noises))]
    for dataset in results.datasets:
        for method in results.methods:
            scores = [results.score(method, dataset, noise) for noise in noises]
            lines.append(_row(dataset, LABELS[method], *map(_score, scores)))
    if len(results.datasets) > 1:
        for method in results.methods:
            scores = [results.mean_score(method, noise) for noise in noises]
            lines.append(_row("**mean**", LABELS[method], *map(_score, scores)))
    return lines


def _standing(found: Goals, results: Results, noises: Sequence[str]) -> list[str]:
    if not found.cells:
        return ["No cell is finished."]
    means = ", ".join(f"{LABELS[m].strip('*')} {mean:.1f}" for m, mean in found.means.items())
    lines = [f"Mean over {found.cells} cells (data set x noise): {means}."]
    if "default" not in found.means:
        return lines
    own = found.means["default"]
    lines.append("")
    if found.best_single is not None and found.hindsight is not None:
        best = found.means[found.best_single]
        lines.append(
            f"- Default against the best single loss ({LABELS[found.best_single]}): "
            f"{own - best:+.1f} points. The best loss of each cell, known in hindsight only, has "
            f"{found.hindsight:.1f}."
        )
    if found.worst is not None and found.worst_run is not None:
        lines += [
            f"- More than {TOLERANCE} points below zero-shot, by mean over seeds: "
            f"{len(found.below)} of {found.cells} cells{_listed(found.below)}; the worst cell is "
            f"{_gap(found.worst)}.",
            f"- The same of single runs: {len(found.below_runs)} of {found.runs}; the worst is "
            f"{_gap(found.worst_run)}.",
        ]
    if found.to_ce_when_clean:
        gaps = ", ".join(f"{gap.dataset} {gap.points:+.1f}" for gap in found.to_ce_when_clean)
        lines.append(f"- Against cross-entropy at 0 % wrong labels: {gaps}.")
    served: dict[str, int] = {}
    for noise in noises:
        for name, count in results.served[noise].items():
            served[name] = served.get(name, 0) + count
    lines.append(f"- Served: {', '.join(f'{n} {count}' for n, count in served.items())} runs.")
    return lines


def _listed(gaps: Sequence[Gap]) -> str:
    return f" ({', '.join(map(_gap, gaps))})" if gaps else ""


def _gap(gap: Gap) -> str:
    seed = "" if gap.seed is None else f", seed {gap.seed}"
    return f"{gap.dataset} {short(gap.noise)}{seed}: {gap.points:+.1f}"


def _score(score: Score | None) -> str:
    if score is None:
        return "–"
    return f"{score.mean:.1f}" + ("" if score.std is None else f" ± {score.std:.1f}")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
