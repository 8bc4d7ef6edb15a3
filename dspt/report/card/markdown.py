"""Render a card as Markdown. Its names are untrusted, so all of them are escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from dspt.kit.files import atomic_write
from dspt.kit.text import counted
from dspt.report.card.curves import CURVES, curves_svg, sparkline, values_of
from dspt.report.card.schema import CardClass, CardResult, JobRecord, ModelCard
from dspt.report.classifier_names import classifier_names

MOST_CLASSES = 100
"""Rows in the table of classes; of more classes the weakest are shown."""
_MOST_FILES = 20
_SPECIAL = re.compile(
    r"[\\`*_\[\]#|~$^@]"  # marks, cells, and what some renderers add
    r"|:(?=\S)|(?<=\bwww)\."  # addresses become links by themselves, :smile: a face
    r"|^[-+=]",  # lists and rules
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"^(\d+)([.)])(?=\s|$)")
_SEVERITIES = {"error": "Error", "warning": "Warning", "info": "Note"}
_MEASURED = {
    "test": "images in test/, whose labels are assumed to be correct",
    "val": "images in val/, whose labels are assumed to be correct",
    "held_out": "held-out images, compared with their recorded labels",
}


def escaped(text: object) -> str:
    """Return `text` on one line, escaped so that Markdown renders it literally."""
    line = html.escape(" ".join(str(text).split()), quote=False)
    line = _SPECIAL.sub(lambda found: "\\" + found[0], line)
    return _NUMBERED.sub(r"\1\\\2", line)


def to_markdown(card: ModelCard, *, picture: str | None = None) -> str:
    """Return the card as CommonMark with tables. picture: path of its `curves_svg`, to be shown."""
    parts = [
        _head(card),
        _data(card),
        _health(card),
        _noise(card),
        _accuracy(card),
        _per_class(card),
        _course(card, picture),
        _settings(card),
        _section("Limits", "\n".join(f"- {escaped(text)}" for text in card.limits)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_card(card: ModelCard, path: Path) -> list[Path]:
    """Write the card as Markdown and its curves, if any, next to it as SVG.

    Returns the paths written. Raises OSError.
    """
    written = [path]
    picture = None
    if card.epochs:
        drawing = path.with_suffix(".svg")
        atomic_write(drawing, curves_svg(card.epochs).encode())
        written.append(drawing)
        picture = drawing.name
    atomic_write(path, to_markdown(card, picture=picture).encode())
    return written


def _section(title: str, *blocks: str) -> str:
    return "\n\n".join([f"## {title}", *(block for block in blocks if block)])


def _table(columns: Iterable[str], rows: Iterable[Iterable[object]], right: int = 0) -> str:
    """Return a table with escaped cells. The last `right` columns are aligned to the right."""
    columns = list(columns)
    rules = ["---"] * (len(columns) - right) + ["---:"] * right
    lines = [columns, rules, *([escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _pairs(rows: dict[str, object]) -> str:
    return _table(["", ""], ((k, v) for k, v in rows.items() if v is not None))


def _head(card: ModelCard) -> str:
    created = card.job and card.job.finished_at
    facts = _pairs(
        {
            "model": card.model_id,
            "created by": card.job.job_id if card.job else None,
            "created at": f"{created:%Y-%m-%d}" if created else None,
            "classes": len(card.classes),
            "classes added by name": ", ".join(card.added_classes) or None,
            "backbone": card.backbone.name,
            "licence of the weights": card.backbone.licence or "not known",
            "served": _names(card)[card.served],
        }
    )
    note = "" if card.job else "Made from the classifier's file only."
    return "\n\n".join(
        part for part in (f"# {escaped(card.name)}", note, facts, escaped(card.why)) if part
    )


def _data(card: ModelCard) -> str:
    if card.job is None:
        return ""
    data = card.job.data
    split = ", ".join(f"{count:,} {name}" for name, count in data.split.items() if count)
    facts = _pairs(
        {
            "file": data.filename,
            "images": None if data.images is None else f"{data.images:,} ({split})",
            "labels corrected": data.relabelled or None,
            "images dropped": data.dropped or None,
        }
    )
    rejected = data.rejected[:_MOST_FILES]
    files = _table(["left out", "reason"], ((each.file, each.reason) for each in rejected))
    more = len(data.rejected) - len(rejected)
    return _section(
        "Data",
        facts,
        files if rejected else "",
        f"and {more:,} more." if more else "",
        "\n".join(f"- {escaped(text)}" for text in _other_warnings(card.job)),
    )


def _health(card: ModelCard) -> str:
    if card.job is None or card.job.health is None:
        return ""
    health = card.job.health
    findings = [
        f"- **{_SEVERITIES[each.severity]}: {escaped(each.title)}"
        f"{f' ({each.count:,})' if each.count > 1 else ''}.** {escaped(each.text)}"
        f"{'' if each.text.endswith('.') else '.'} {escaped(each.fix)}"
        for each in health.findings
    ]
    return _section("Health of the data", escaped(health.summary), "\n".join(findings))


def _other_warnings(job: JobRecord) -> list[str]:
    """The warnings of a job that its health report does not contain."""
    known = [finding.text for finding in job.health.findings] if job.health else []
    return [text for text in job.warnings if not any(text in each for each in known)]


def _noise(card: ModelCard) -> str:
    noise = card.noise
    if noise is None:
        return _section("Wrong labels", "The share of wrong training labels is not known.")
    return _section(
        "Wrong labels",
        f"About {noise.estimate:.0%} of the training labels are wrong "
        f"(90 % interval: {noise.low:.0%} to {noise.high:.0%}).",
    )


def _accuracy(card: ModelCard) -> str:
    if not card.results or card.measured_on is None:
        return ""
    images, names = card.results[0].images, _names(card)
    rows = [_result(card, each) for each in card.results]
    columns = ["classifier", "served", "accuracy", "95 % interval", "calibration error"]
    weights = ", ".join(
        f"{escaped(name.replace('_', ' '))} {weight:.2f}" for name, weight in card.blend.items()
    )
    temperatures = ", ".join(
        f"{names[name]} {temperature:.2f}"
        for name, temperature in card.temperatures.items()
        if name in names and temperature != 1.0
    )
    return _section(
        "Accuracy",
        f"On {images:,} {_MEASURED[card.measured_on]}.",
        _table(columns, rows, right=3),
        "The calibration error is the mean difference between the probability of the predicted "
        "class and how often the prediction is correct.",
        _semi_supervised(card),
        f"Temperature, fitted on held-out images: {temperatures}." if temperatures else "",
        f"Weights of the parts of the ensemble: {weights}." if weights else "",
    )


def _semi_supervised(card: ModelCard) -> str:
    found = card.unlabelled
    if found is None or not found.used:
        return ""
    without = found.accuracy_without
    compared = "" if without is None else f" Without them its accuracy is {without:.1%}."
    return (
        f"The ensemble is semi-supervised: {counted(found.used, 'photo')} without labels moved its "
        f"class means.{compared}"
    )


def _names(card: ModelCard) -> dict[str, str]:
    return classifier_names(card.config.get("tuning"))


def _result(card: ModelCard, result: CardResult) -> list[str]:
    low, high = result.accuracy_interval
    return [
        _names(card)[result.classifier],
        "yes" if result.classifier == card.served else "",
        f"{result.accuracy:.1%}",
        f"{low:.1%} to {high:.1%}",
        f"{result.calibration_error:.3f}",
    ]


def _per_class(card: ModelCard) -> str:
    def served(row: CardClass) -> float | None:
        return row.tuned if card.served == "tuned" else row.zero_shot

    measured = [row for row in card.classes if served(row) is not None]
    if not measured:
        return _section("Classes", ", ".join(escaped(row.name) for row in card.classes))
    weakest = sorted(card.classes, key=lambda row: (served(row) is None, served(row) or 0.0))
    shown = weakest[:MOST_CLASSES]
    more = len(weakest) - len(shown)
    counted = any(row.images is not None for row in shown)
    columns = ["class", "words in the prompt", *_COUNTED * counted, "zero-shot", "served"]
    rows = (
        [
            row.name,
            row.words,
            *_counts(row) * counted,
            _percent(row.zero_shot),
            _percent(served(row)),
        ]
        for row in shown
    )
    return _section(
        "Classes, weakest first",
        _table(columns, rows, right=2 + counted),
        f"and {more:,} more classes." if more else "",
    )


_COUNTED = ("most often predicted as", "images")


def _counts(row: CardClass) -> tuple[str, str]:
    mistaken = f"{row.mistaken_for} ({row.mistaken})" if row.mistaken_for else ""
    return mistaken, "" if row.images is None else f"{row.images:,}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def _course(card: ModelCard, picture: str | None) -> str:
    if not card.epochs:
        return ""
    rows = []
    for name, (label, _) in CURVES.items():
        values = values_of(card.epochs, name)
        rows.append((label, sparkline(values), f"{values[0]:.3f}", f"{values[-1]:.3f}"))
    total = sum(card.seconds.values())
    return _section(
        "Training curves",
        f"![Loss, accuracy and suppressed share by epoch]({quote(picture)})" if picture else "",
        _table(
            ["", f"epochs {card.epochs[0].epoch} to {card.epochs[-1].epoch}", "first", "last"],
            rows,
            right=2,
        ),
        f"The job took {total:,.0f} seconds." if total else "",
    )


def _settings(card: ModelCard) -> str:
    digests = {
        "labelled images (SHA-256)": card.dataset_sha256,
        "backbone (SHA-256)": card.backbone.digest,
        "classifier's file (SHA-256)": card.artifact_sha256,
        "activation of the backbone": card.backbone.activation,
    }
    settings = {name: value for name, value in card.config.items() if value is not None}
    return _section("Settings and digests", _pairs(settings | digests))
