"""Tables of jobs and models for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dspt.cli.tables import plain_table, shown_ids
from dspt.cli.terminal import out
from dspt.report.classifier_names import classifier_names

if TYPE_CHECKING:
    from dspt_client.schemas.batches import BatchView
    from dspt_client.schemas.comparisons import ComparisonJobView
    from dspt_client.schemas.datasets import DatasetDetail, DatasetView, PhotoView
    from dspt_client.schemas.feedback import CapturedView
    from dspt_client.schemas.jobs import JobView
    from dspt_client.schemas.models import AliasHistory, AliasView, Drift, ModelView
    from dspt_client.schemas.predictions import PredictionEntry
    from dspt_client.schemas.reviews import VerdictView

#: Columns of a terminal that all columns of the list of models fit in.
_WIDE = 110
_COLOURS = {"succeeded": "green", "failed": "red", "cancelled": "yellow"}


def jobs_table(jobs: Sequence[JobView]) -> RenderableType:
    table = plain_table("id", "name", "status", "done", "accuracy", "created")
    for job, short in zip(jobs, shown_ids(job.id for job in jobs), strict=True):
        status = Text(job.status, style=_COLOURS.get(job.status, ""))
        done = f"{job.progress.fraction:.0%}"
        created = _minute(job.created_at)
        table.add_row(short, Text(job.name), status, done, _accuracy(job.metrics), created)
    return table


def models_table(models: Sequence[ModelView]) -> RenderableType:
    """Return a list; on a narrow terminal without backbone and number of classes."""
    narrow = out.width < _WIDE
    more = () if narrow else ("classes", "backbone")
    table = plain_table(
        *("id", "name", "aliases", *more, "accuracy", "created"), folding=("name", "aliases")
    )
    for model, short in zip(models, shown_ids(model.id for model in models), strict=True):
        cells = [model.name, ", ".join(model.aliases)]
        if not narrow:
            cells += [str(len(model.classes)), model.backbone]
        created = f"{model.created_at.astimezone():%Y-%m-%d}"
        table.add_row(short, *(Text(cell) for cell in cells), _accuracy(model.metrics), created)
    return table


def verdicts_table(verdicts: Iterable[tuple[str, VerdictView | None]]) -> RenderableType:
    table = plain_table("file", "verdict", "by", "time", folding=("file", "verdict"))
    for file, verdict in verdicts:
        if verdict is not None:
            decision = verdict.label or verdict.action
            table.add_row(Text(file), Text(decision), verdict.by or "", _minute(verdict.at))
    return table


def job_details(job: JobView) -> RenderableType:
    """Return the details of a job, without its metrics."""
    data = job.dataset
    rows = {
        "id": job.id,
        "name": job.name,
        "status": job.status,
        "progress": _progress(job),
        "created": _minute(job.created_at),
        "data set": f"{data.id} ({data.filename})",
    }
    if data.images is not None:
        left_out = f", {len(data.rejected)} left out" if data.rejected else ""
        rows["images"] = f"{data.images} in {len(data.classes or ())} classes{left_out}"
    if data.corrections is not None:
        done = data.corrections
        kept = f", {done.kept} kept" if done.kept else ""
        rows["corrected"] = f"{done.relabelled} relabelled, {done.dropped} dropped{kept}"
    rows["backbone"] = str(job.config.get("backbone", ""))
    if job.model_id is not None:
        rows["model"] = job.model_id
    return _pairs(rows)


def datasets_table(datasets: Sequence[DatasetView]) -> RenderableType:
    table = plain_table("id", "file", "corrections", "size", "created", folding=("file",))
    for each, short in zip(datasets, shown_ids(each.id for each in datasets), strict=True):
        size = "deleted" if each.expired else f"{each.size_bytes / 1e6:.1f} MB"
        row = (short, Text(each.filename), _corrections(each), size, _minute(each.created_at))
        table.add_row(*row)
    return table


def dataset_details(dataset: DatasetDetail) -> RenderableType:
    """Return the details of a data set, and a table of its classes."""
    rows = {
        "id": dataset.id,
        "file": dataset.filename,
        "created": _minute(dataset.created_at),
        "images": "deleted" if dataset.expired else str(dataset.images),
    }
    if dataset.unlabelled:
        rows["unlabelled"] = f"{dataset.unlabelled:,}"
    if dataset.version > 1:
        rows["version"] = str(dataset.version)
    if dataset.relabelled is not None:
        rows |= {"corrects": dataset.parent_id or "", "corrected": _corrections(dataset)}
    elif dataset.parent_id is not None:
        rows["added to"] = dataset.parent_id
    table = plain_table("class", "train", "val", "test", folding=("class",))
    for each in dataset.classes:
        table.add_row(Text(each.name), *(f"{n:,}" for n in (each.train, each.val, each.test)))
    return Group(_pairs(rows), table)


def batches_table(rows: Iterable[BatchView | ComparisonJobView]) -> RenderableType:
    table = plain_table("id", "name", "status", "done", "created", folding=("name",))
    for each in rows:
        status = Text(each.status, style=_COLOURS.get(each.status, ""))
        created = _minute(each.created_at)
        table.add_row(each.id, Text(each.name), status, _images_done(each), created)
    return table


comparisons_table = batches_table


def comparison_details(comparison: ComparisonJobView) -> RenderableType:
    rows = {
        "id": comparison.id,
        "name": comparison.name,
        "status": comparison.status,
        "done": _images_done(comparison),
        "created": _minute(comparison.created_at),
        "images of": comparison.dataset_id,
        "A": comparison.a_alias or comparison.a,
        "B": comparison.b_alias or comparison.b,
    }
    if comparison.error is not None:
        rows["error"] = comparison.error.message
    return _pairs(rows)


def batch_details(batch: BatchView) -> RenderableType:
    rows = {
        "id": batch.id,
        "name": batch.name,
        "status": batch.status,
        "done": _images_done(batch),
        "unreadable": str(batch.unreadable),
        "created": _minute(batch.created_at),
        "images of": batch.dataset_id or batch.filename,
        "model": batch.model,
    }
    if batch.error is not None:
        rows["error"] = batch.error.message
    return _pairs(rows)


def photos_table(photos: Iterable[PhotoView]) -> RenderableType:
    table = plain_table("number", "file", "part", "class", folding=("file", "class"))
    for photo in photos:
        table.add_row(str(photo.number), Text(photo.file), photo.split, Text(photo.label))
    return table


def predictions_table(entries: Iterable[PredictionEntry]) -> RenderableType:
    table = plain_table("file", "label", "predicted", "p", folding=("file",))
    for each in entries:
        cells = (each.file, each.label, each.predicted, f"{each.score:.3f}")
        table.add_row(*map(Text, cells))
    return table


def captured_table(captured: Iterable[CapturedView]) -> RenderableType:
    table = plain_table("id", "file", "predicted", "p", "correct", folding=("file", "predicted"))
    for each in captured:
        cells = (each.file, each.predicted, f"{each.score:.3f}", each.label or "")
        table.add_row(each.id, *map(Text, cells))
    return table


def aliases_table(aliases: Iterable[AliasView]) -> RenderableType:
    table = plain_table("alias", "model", "since", "captured", folding=("alias",))
    for alias in aliases:
        kept = f"{alias.capture:.0%}"
        table.add_row(Text(alias.name), alias.model_id, _minute(alias.moved_at), kept)
    return table


def alias_moves(alias: AliasHistory) -> RenderableType:
    """Return the moves of an alias, newest first."""
    more = "; older ones are not shown" if alias.has_more else ""
    table = plain_table("", "at", "points to")
    table.title, table.title_justify = f"Moves of {alias.name}{more}", "left"
    for move in alias.history:
        table.add_row(str(move.number), _minute(move.moved_at), move.model_id or "(removed)")
    return table


def model_details(model: ModelView) -> RenderableType:
    return _pairs(
        {
            "id": model.id,
            "name": model.name,
            "aliases": ", ".join(model.aliases),
            "created": _minute(model.created_at),
            "job": model.job_id or "",
            "backbone": model.backbone,
            "served": classifier_names(model.config.get("tuning")).get(model.served, model.served),
            "classes": ", ".join(model.classes),
            "size": f"{model.size_bytes / 1024:.0f} KiB",
        }
        | _drift(model.drift)
    )


def _drift(drift: Drift | None) -> dict[str, str]:
    """Return what recent photos look like, each figure beside what is normal."""
    if drift is None:
        return {}
    if drift.now is None:
        return {"drift": drift.reason or ""}
    normal = drift.baseline
    rows = {"drift": f"of the newest {drift.captured} captured predictions"}
    for name, figure, form in (
        ("uncertain", "low_confidence", ".0%"),
        ("distance", "distance", ".3f"),
        ("far away", "far", ".0%"),
    ):
        values = getattr(drift.now, figure), getattr(normal, figure, None)
        shown = ["unknown" if value is None else format(value, form) for value in values]
        rows[f"  {name}"] = f"{shown[0]} (normal: {shown[1]})"
    return rows | ({"": drift.reason} if drift.reason else {})


def _corrections(dataset: DatasetView) -> str:
    if dataset.relabelled is None:
        return "" if dataset.parent_id is None else f"photos added to {dataset.parent_id}"
    return f"{dataset.relabelled} relabelled, {dataset.dropped} dropped"


def _images_done(batch: BatchView | ComparisonJobView) -> str:
    return f"{batch.done:,}" if batch.images is None else f"{batch.done:,} of {batch.images:,}"


def _accuracy(metrics: Mapping[str, Any] | None) -> str:
    """Return the accuracy of the served classifier; "" if there is none."""
    served = (metrics or {}).get((metrics or {}).get("served", ""))
    return f"{served['accuracy']:.1%}" if served else ""


def _progress(job: JobView) -> str:
    """Return the progress; for a job that has not succeeded also its current or last stage."""
    progress = job.progress
    done = f"{progress.fraction:.0%}"
    if job.status == "succeeded":
        return done
    if progress.message is not None:
        return f"{done}, {progress.message}"
    epoch = "" if progress.epoch is None else f", epoch {progress.epoch} of {progress.epochs}"
    return f"{done}, {progress.stage.replace('_', '-')}{epoch}"


def _pairs(rows: Mapping[str, str]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return table


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"
