"""The result as Markdown: rankings, suspects and the share of wrong labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from benchmarks.audit_quality.rankings import CLEANLAB_SCORES, FLAGGERS, METHODS
from benchmarks.noise_robustness.table import short

LABELS = {
    "ours": "**audit**",
    "cleanlab_self_confidence": "cleanlab, self-confidence",
    "cleanlab_normalized_margin": "cleanlab, normalized margin",
    "cleanlab_confidence_weighted_entropy": "cleanlab, weighted entropy",
    "ours_cleanlab_self_confidence": "cleanlab on our p, self-confidence",
    "ours_cleanlab_normalized_margin": "cleanlab on our p, normalized margin",
    "ours_cleanlab_confidence_weighted_entropy": "cleanlab on our p, weighted entropy",
    "zero_shot": "zero-shot p(label)",
    "prompt": "cross-fitted prompt",
    "prompt_gce": "cross-fitted prompt, GCE",
    "suppression": "suppression",
    "neighbours": "nearest neighbours",
}
FLAG_LABELS = {
    "ours": "**audit**",
    "cleanlab": "cleanlab",
    "ours_cleanlab": "cleanlab on our p",
}
MEASURES = {
    "auc": ("ROC-AUC", "{:.3f}"),
    "precision_at_k": ("Precision at k, the number of wrong labels", "{:.2f}"),
    "recall_at_first": ("Recall after a tenth is reviewed", "{:.2f}"),
}
PEERS = tuple(f"cleanlab_{name}" for name in CLEANLAB_SCORES)

Cells = Sequence[Mapping[str, Any]]


def markdown(document: Mapping[str, Any]) -> str:
    """The text of audit_quality.md from the content of audit_quality.json."""
    cells = document["cells"]
    lines = ["# Finding wrong labels", "", *_heading(document)]
    noises = [name for name in _noises(cells) if any(_ranked(cells, name))]
    if noises:
        lines += ["", "## Ranking", "", *_standing(cells, noises)]
        for measure, (title, form) in MEASURES.items():
            lines += ["", f"### {title}", "", *_ranking_table(cells, noises, measure, form)]
        lines += ["", "### ROC-AUC by data set", "", *_by_data_set(cells, noises)]
    lines += ["", "## Labels called wrong", "", *_flag_table(cells)]
    lines += ["", "## Share of wrong labels", "", *_rate_table(cells)]
    return "\n".join(lines) + "\n"


def best_peer(cells: Cells) -> str:
    """The score of cleanlab with the best mean ROC-AUC on logistic regression's probabilities."""
    return max(PEERS, key=lambda name: _mean(cells, lambda c: _measured(c, name, "auc")) or 0.0)


def _heading(document: Mapping[str, Any]) -> list[str]:
    machine, settings = document["machine"], document["settings"]
    packages = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    lines = [
        f"{settings['shots'][0]} shots per class, seeds {', '.join(map(str, settings['seeds']))}; "
        f"backbone `{settings['backbone']}` ({document['backbone_digest'][:12]}), "
        f"{document['dtype'].removeprefix('torch.')}. Means over data sets and seeds, ± standard "
        "deviation over seeds of the mean over data sets.",
        "",
        f"    {document['command']}",
        "",
        f"On {machine['processor']}, {machine['cpus']} CPUs, {machine['system']}; Python "
        f"{document['python']}, {packages}.",
    ]
    for cell, error in document["failed"].items():
        lines += ["", f"**Failed:** {cell}: {error}"]
    return lines


def _standing(cells: Cells, noises: Sequence[str]) -> list[str]:
    peer = best_peer(cells)
    groups = [(d, n) for d in _datasets(cells) for n in noises if _ranked(_of(cells, d), n)]

    def auc(name: str, dataset: str, noise: str) -> float:
        return fmean(c["rankings"][name]["auc"] for c in _ranked(_of(cells, dataset), noise))

    gaps = {group: auc("ours", *group) - auc(peer, *group) for group in groups}
    worst = min(gaps, key=gaps.__getitem__)
    own = fmean(auc("ours", *group) for group in groups)
    return [
        f"Mean ROC-AUC over {len(groups)} cells (data set x noise): audit {own:.3f}, cleanlab at "
        f"its best ({LABELS[peer].split(', ')[1]}) {fmean(auc(peer, *g) for g in groups):.3f}. "
        f"The audit is better in {sum(gap > 0 for gap in gaps.values())} of them; its worst is "
        f"{worst[0]}, {short(worst[1])}: {gaps[worst]:+.3f}."
    ]


def _ranking_table(cells: Cells, noises: Sequence[str], measure: str, form: str) -> list[str]:
    lines = _head("ranked by", *map(short, noises), "mean")
    for name in METHODS:
        columns = []
        for noise in noises:
            ranked = _ranked(cells, noise)
            seeds = sorted({cell["seed"] for cell in ranked})
            by_seed = [
                fmean(_measured(c, name, measure) for c in ranked if c["seed"] == s) for s in seeds
            ]
            columns.append(_spread(by_seed, form))
        mean = _mean(cells, lambda cell, name=name: _measured(cell, name, measure))  # type: ignore[misc]
        lines.append(_row(LABELS[name], *columns, form.format(mean)))
    return lines


def _by_data_set(cells: Cells, noises: Sequence[str]) -> list[str]:
    peer = best_peer(cells)
    lines = _head("data", "ranked by", *map(short, noises))
    for dataset in _datasets(cells):
        for name in ("ours", peer):
            columns = []
            for noise in noises:
                found = [_measured(c, name, "auc") for c in _ranked(_of(cells, dataset), noise)]
                columns.append(_spread(found, "{:.3f}"))
            lines.append(_row(dataset, LABELS[name], *columns))
    return lines


def _flag_table(cells: Cells) -> list[str]:
    lines = [
        "Precision / recall of the labels called wrong, in percent. Of labels all of which are "
        "right: the share called wrong, all of it false alarm.",
        "",
        *_head("data", "called wrong by", *map(short, _noises(cells))),
    ]
    for dataset in _datasets(cells):
        for name in FLAGGERS:
            columns = []
            for noise in _noises(cells):
                counts = [c["flags"][name] for c in _of(cells, dataset, noise)]
                columns.append(_flagged(counts))
            lines.append(_row(dataset, FLAG_LABELS[name], *columns))
    return lines


def _flagged(counts: Sequence[Mapping[str, int]]) -> str:
    if not counts:
        return "–"
    total = {key: sum(one[key] for one in counts) for key in counts[0]}
    if not total["wrong"]:
        return f"{100 * total['flagged'] / total['clean']:.1f} false"
    precision = f"{100 * total['right'] / total['flagged']:.0f}" if total["flagged"] else "–"
    return f"{precision} / {100 * total['right'] / total['wrong']:.0f}"


def _rate_table(cells: Cells) -> list[str]:
    told = [cell for cell in cells if cell["noise_rate"]]
    held = sum(_held(cell) for cell in told)
    lines = [
        f"Estimate in percent, with the ends of its 90 % interval, means over seeds. The true "
        f"share lies in the interval in {held} of {len(told)} runs"
        + (f" ({held / len(told):.0%})" if told else "")
        + f"; nothing could be told in {len(cells) - len(told)} runs.",
        "",
        *_head("data", *map(short, _noises(cells))),
    ]
    for dataset in _datasets(cells):
        columns = []
        for noise in _noises(cells):
            found = [c for c in _of(cells, dataset, noise) if c["noise_rate"]]
            if not found:
                columns.append("–")
                continue
            estimate, low, high = (
                100 * fmean(c["noise_rate"][end] for c in found)
                for end in ("estimate", "low", "high")
            )
            inside = f"{sum(map(_held, found))} of {len(found)}"
            columns.append(f"{estimate:.0f} ({low:.0f} to {high:.0f}), {inside}")
        lines.append(_row(dataset, *columns))
    return lines


def _held(cell: Mapping[str, Any]) -> bool:
    """Whether the true share lies in the interval, to half a percent."""
    rate, true = cell["noise_rate"], cell["wrong_share"]
    return bool(rate["low"] - 0.005 <= true <= rate["high"] + 0.005)


def _noises(cells: Cells) -> list[str]:
    return list(dict.fromkeys(cell["noise"]["name"] for cell in cells))


def _datasets(cells: Cells) -> list[str]:
    return list(dict.fromkeys(cell["dataset"] for cell in cells))


def _of(cells: Cells, dataset: str, noise: str | None = None) -> Cells:
    return [
        cell
        for cell in cells
        if cell["dataset"] == dataset and noise in (None, cell["noise"]["name"])
    ]


def _ranked(cells: Cells, noise: str) -> Cells:
    """Cells of `noise` in which some labels are wrong and others right."""
    return [cell for cell in cells if cell["noise"]["name"] == noise and cell["rankings"]["ours"]]


def _measured(cell: Mapping[str, Any], method: str, measure: str) -> float:
    return float(cell["rankings"][method][measure])


def _mean(cells: Cells, value: Callable[[Mapping[str, Any]], float]) -> float | None:
    """Over all cells in which a ranking can be measured."""
    found = [value(cell) for cell in cells if cell["rankings"]["ours"]]
    return fmean(found) if found else None


def _spread(values: Sequence[float], form: str) -> str:
    if not values:
        return "–"
    mean = form.format(fmean(values))
    return mean if len(values) == 1 else f"{mean} ± {form.format(stdev(values))}"


def _head(*names: str) -> list[str]:
    return [_row(*names), _row(*[":--" if i == 0 else "--:" for i in range(len(names))])]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
