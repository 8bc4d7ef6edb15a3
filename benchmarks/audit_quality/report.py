"""Rankings, suspects and the share of wrong labels as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Any

from benchmarks.audit_quality.rankings import CLEANLAB_SCORES
from benchmarks.noise_robustness.report import short, unfinished
from benchmarks.skeleton.report import Spread, page, table

_SCORES = dict(
    zip(CLEANLAB_SCORES, ("self-confidence", "normalized margin", "weighted entropy"), strict=True)
)
LABELS = {
    "ours": "**audit**",
    **{f"cleanlab_{name}": f"cleanlab, {label}" for name, label in _SCORES.items()},
    **{f"ours_cleanlab_{name}": f"cleanlab on our p, {label}" for name, label in _SCORES.items()},
}
FLAG_LABELS = {"ours": "**audit**", "cleanlab": "cleanlab", "ours_cleanlab": "cleanlab on our p"}
MEASURES = {
    "auc": ("ROC-AUC", ".3f"),
    "precision_at_k": ("Precision at k, the number of wrong labels", ".2f"),
    "recall_at_first": ("Recall after reviewing a tenth", ".2f"),
}

Cell = Mapping[str, Any]
Cells = Sequence[Cell]


def markdown(document: Mapping[str, Any]) -> str:
    cells, settings = document["cells"], document["settings"]
    seeds = settings["seeds"]
    spread = "± standard deviation over seeds of the mean over data sets" if len(seeds) > 1 else ""
    blocks: list[str | list[str]] = [
        f"{settings['shots'][0]} shots per class, {'seeds' if len(seeds) > 1 else 'one seed'} "
        f"({', '.join(map(str, seeds))}); backbone `{settings['backbone']}` "
        f"({document['backbone_digest'][:12]}), {document['dtype'].removeprefix('torch.')}. Means "
        f'over data sets and seeds{", " + spread if spread else ""}. "Our p" are the '
        "out-of-sample probabilities of this service.",
        *unfinished(document),
    ]
    if ranked := [cell for cell in cells if cell["rankings"]["ours"]]:
        blocks += ["## Ranking", _standing(ranked)]
        for measure, (title, form) in MEASURES.items():
            blocks += [f"### {title}", _ranking_table(ranked, measure, form)]
        blocks += ["### ROC-AUC by data set", _by_data_set(ranked)]
    blocks += ["## Labels called wrong", *_flag_table(cells)]
    blocks += ["## Share of wrong labels", *_rate_table(cells)]
    if expected := [cell for cell in cells if cell.get("expected")]:  # not in earlier results
        blocks += ["## Wrong labels to expect", *_expected_table(expected)]
    return page("Finding wrong labels", document, *blocks)


def best_peer(ranked: Cells) -> str:
    """Return cleanlab's score with the best mean ROC-AUC on logistic regression's probabilities.

    The audit itself if it was measured alone.
    """
    peers = [f"cleanlab_{name}" for name in CLEANLAB_SCORES]
    if peers[0] not in ranked[0]["rankings"]:
        return "ours"
    return max(peers, key=lambda name: _mean(ranked, name, "auc"))


def _standing(ranked: Cells) -> str:
    peer = best_peer(ranked)
    groups = [
        (dataset, noise, cells)
        for dataset in _datasets(ranked)
        for noise in _noises(ranked)
        if (cells := _of(ranked, dataset, noise))
    ]
    own = [_mean(cells, "ours", "auc") for *_, cells in groups]
    if peer == "ours":
        return f"Mean ROC-AUC over {len(groups)} cells (data set x noise): {fmean(own):.3f}."
    other = [_mean(cells, peer, "auc") for *_, cells in groups]
    gaps = [a - b for a, b in zip(own, other, strict=True)]
    dataset, noise, _ = groups[gaps.index(min(gaps))]
    return (
        f"Mean ROC-AUC over {len(groups)} cells (data set x noise): audit {fmean(own):.3f}, the "
        f"best score of cleanlab ({LABELS[peer].split(', ')[1]}) {fmean(other):.3f}. The audit is "
        f"better in {sum(gap > 0 for gap in gaps)} of them; its worst is {dataset}, "
        f"{short(noise)}: {min(gaps):+.3f}."
    )


def _ranking_table(ranked: Cells, measure: str, form: str) -> list[str]:
    noises = _noises(ranked)

    def spread(name: str, noise: str) -> str:
        cells = _of(ranked, None, noise)
        seeds = sorted({cell["seed"] for cell in cells})
        by_seed = [_mean([c for c in cells if c["seed"] == s], name, measure) for s in seeds]
        return Spread.of(by_seed).text(form)

    rows = [
        [
            label,
            *(spread(name, noise) for noise in noises),
            format(_mean(ranked, name, measure), form),
        ]
        for name, label in LABELS.items()
        if name in ranked[0]["rankings"]
    ]
    return table(["ranked by", *map(short, noises), "mean"], rows)


def _by_data_set(ranked: Cells) -> list[str]:
    def spread(name: str, cells: Cells) -> str:
        return Spread.of([cell["rankings"][name]["auc"] for cell in cells]).text(".3f")

    methods = {LABELS[name]: partial(spread, name) for name in ("ours", best_peer(ranked))}
    return _grid(ranked, "ranked by", methods)


def _flag_table(cells: Cells) -> tuple[str, list[str]]:
    methods = {
        label: partial(_flagged, name)
        for name, label in FLAG_LABELS.items()
        if name in cells[0]["flags"]
    }
    text = "Precision / recall in percent of the labels called wrong. If all labels are correct: "
    text += "the share called wrong, all of them false alarms."
    return text, _grid(cells, "called wrong by", methods)


def _flagged(name: str, cells: Cells) -> str:
    total: Counter[str] = sum((Counter(cell["flags"][name]) for cell in cells), Counter())
    if not total["wrong"]:
        return f"{100 * total['flagged'] / total['clean']:.1f} false"
    precision = f"{100 * total['right'] / total['flagged']:.0f}" if total["flagged"] else "–"
    return f"{precision} / {100 * total['right'] / total['wrong']:.0f}"


def _rate_table(cells: Cells) -> tuple[str, list[str]]:
    estimated = [cell for cell in cells if cell["noise_rate"]]
    held = sum(map(_held, estimated))
    share = f" ({held / len(estimated):.0%})" if estimated else ""
    text = "Estimate in percent (ends of its 90 % interval), means over seeds; then the number of "
    text += "runs whose interval has the true share, to half a point. In all: "
    text += f"{held} of {len(estimated)} runs{share}; "
    text += f"{len(cells) - len(estimated)} runs without an estimate."
    return text, _grid(cells, "", {"": _rate})


def _expected_table(cells: Cells) -> tuple[str, list[str]]:
    text = "Expected / found wrong labels among the first of the list, means over seeds and noises."
    firsts = sorted({step["first"] for cell in cells for step in cell["expected"][:-1]})
    rows = []
    for dataset in _datasets(cells):
        own = [cell["expected"] for cell in cells if cell["dataset"] == dataset]
        columns = [[s for steps in own for s in steps[:-1] if s["first"] == n] for n in firsts]
        columns.append([steps[-1] for steps in own])
        rows.append([dataset, *map(_expectation, columns)])
    return text, table(["data", *(f"{first:,}" for first in firsts), "all"], rows, left=1)


def _expectation(steps: Sequence[Mapping[str, float]]) -> str:
    if not steps:
        return "–"
    return f"{fmean(s['wrong'] for s in steps):.1f} / {fmean(s['found'] for s in steps):.1f}"


def _rate(cells: Cells) -> str:
    found = [cell for cell in cells if cell["noise_rate"]]
    if not found:
        return "–"
    estimate, low, high = (
        100 * fmean(cell["noise_rate"][end] for cell in found)
        for end in ("estimate", "low", "high")
    )
    held = sum(map(_held, found))
    return f"{estimate:.0f} ({low:.0f} to {high:.0f}), {held} of {len(found)}"


def _held(cell: Cell) -> bool:
    """Return whether the true share is in the interval, to half a percent."""
    rate, true = cell["noise_rate"], cell["wrong_share"]
    return bool(rate["low"] - 0.005 <= true <= rate["high"] + 0.005)


def _grid(cells: Cells, column: str, methods: Mapping[str, Callable[[Cells], str]]) -> list[str]:
    """Return a table with a row per data set and method and a column per noise."""
    noises = _noises(cells)
    names = [column] if column else []
    rows = [
        [
            dataset,
            *([label] if column else []),
            *(text(found) if (found := _of(cells, dataset, n)) else "–" for n in noises),
        ]
        for dataset in _datasets(cells)
        for label, text in methods.items()
    ]
    return table(["data", *names, *map(short, noises)], rows, left=1 + len(names))


def _noises(cells: Cells) -> list[str]:
    return list(dict.fromkeys(cell["noise"]["name"] for cell in cells))


def _datasets(cells: Cells) -> list[str]:
    return list(dict.fromkeys(cell["dataset"] for cell in cells))


def _of(cells: Cells, dataset: str | None, noise: str) -> Cells:
    return [
        cell
        for cell in cells
        if dataset in (None, cell["dataset"]) and cell["noise"]["name"] == noise
    ]


def _mean(cells: Cells, method: str, measure: str) -> float:
    return fmean(cell["rankings"][method][measure] for cell in cells)
