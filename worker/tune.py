"""Tune a model on the photos of one job.

torch is imported once the data set is valid, so that a process without a job does not have it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.datasets import repository as datasets
from app.datasets import service as dataset_service
from app.datasets.copies import kept_copies
from app.datasets.features import feature_folders
from app.jobs.lifecycle.lease import JobLease
from app.jobs.review.changes import change_of
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.settings import Settings
from app.leased.lease import StepRefusedError
from app.models.artifacts import row_of
from app.tables.datasets import Dataset
from app.tables.jobs import Job
from dspt.config import TuneConfig
from dspt.data import load_dataset
from dspt.errors import DatasetError
from dspt.kit.light_torch import import_light
from dspt.kit.progress import CompositeListener, Listener, StageClock
from dspt.report.health import HealthReport
from worker.checkpoints import kept_checkpoint
from worker.jsonable import jsonable
from worker.patience import entered_patiently, patiently
from worker.reporter import Reporter
from worker.task import Task
from worker.telemetry import Attempt

if TYPE_CHECKING:
    from dspt.pipeline import TuneResult


class Tuning(Task[JobLease, Job]):
    """Tune a model on the photos of a job."""

    def __init__(self, lease: JobLease, row: Job, attempt: Attempt) -> None:
        super().__init__(lease, row, attempt)
        self._reporter = Reporter(lease, self.time_limit()[0])

    def work(self) -> None:
        listener = CompositeListener(self.attempt, self._reporter)
        _tune(self.lease, self.row, self._reporter, listener)

    def time_limit(self) -> tuple[float, str]:
        limit = self.context.settings.job_time_limit_seconds
        return limit, (
            f"The job exceeded its time limit of {limit:g} seconds. Lower `epochs`, "
            "`augment_views` or the number of images, or raise DSPT_JOB_TIME_LIMIT_SECONDS."
        )

    def flush(self) -> None:
        self._reporter.flush()

    def about(self, error: Exception) -> Mapping[str, Any]:
        refused = HealthReport.refused(error) if isinstance(error, DatasetError) else None
        return {"health": jsonable(refused.to_dict()) if refused else None}


def _read_dataset(context: Context, dataset_id: str) -> tuple[Dataset, list[Dataset]]:
    """Return the job's data set, and those that have its zips."""
    with context.database.read() as session:
        dataset = datasets.get(session, dataset_id)
        assert dataset is not None
        return dataset, datasets.zips_of(session, dataset)


def _tune(lease: JobLease, job: Job, reporter: Reporter, listener: Listener) -> None:
    context = lease.context
    dataset_row, zips = patiently(lambda: _read_dataset(context, job.dataset_id))
    config, ignored = _with_operators_choice(TuneConfig.parse(job.config), context.settings)
    for text in ignored:
        reporter.warning(text)
    clock = StageClock(listener, config.tuned_epochs)

    with (
        entered_patiently(lambda: kept_copies(context, zips)) as (first, *added),
        load_dataset(
            first,
            job.class_names,
            added=added,
            progress=lambda done, total: clock.at("validating", done, total),
            should_stop=reporter.should_stop,
        ) as uploaded,
    ):
        corrections = patiently(lambda: dataset_service.corrections_of(context, dataset_row))
        # A later correction may have reverted an earlier one.
        dataset = corrections.apply(uploaded, may_change_nothing=True)
        for text in dataset.warnings:
            reporter.warning(text)
        reporter.flush()
        report = jsonable(dataset.to_dict())
        patiently(lambda: lease.start_running(report))
        import_light()
        from dspt.pipeline import tune
        from worker.loaded import loaded

        clock.at("encoding")
        backbone = loaded(config.backbone, config.device)
        with kept_checkpoint(lease) as checkpoint_file:
            result = tune(
                dataset,
                config,
                listener=listener,
                should_stop=reporter.should_stop,
                feature_dir=context.settings.feature_dir,
                feature_packs=feature_folders(context, zips),
                checkpoint_file=checkpoint_file,
                backbone=backbone,
            )
    reporter.flush()
    _keep(lease, job, result)


def _with_operators_choice(config: TuneConfig, settings: Settings) -> tuple[TuneConfig, list[str]]:
    """Return the settings with this worker's device and precision, and warnings of other wishes."""
    chosen = {"device": settings.worker_device, "precision": settings.worker_precision}
    ignored = [
        f"The setting `{name}` was ignored; the operator of the service chooses it "
        f"(DSPT_WORKER_{name.upper()}={value})."
        for name, value in chosen.items()
        if getattr(config, name) not in (value, TuneConfig.model_fields[name].default)
    ]
    return config.model_copy(update=chosen), ignored


def _keep(lease: JobLease, job: Job, result: TuneResult) -> None:
    """Store artefact, audit and predictions, then the model's row with the last transition.

    All or nothing.
    """
    from dspt.model.artifact import save_model

    storage = lease.context.storage
    with tempfile.TemporaryDirectory(prefix="dspt-") as folder:
        path = Path(folder) / "model.safetensors"
        save_model(result.model, path)
        data = path.read_bytes()
    config = result.config.model_dump(mode="json")
    metrics, health = jsonable(result.metrics), jsonable(result.health.to_dict())
    model = row_of(
        result.model.manifest,
        data,
        owner=job.owner,
        name=job.name,
        metrics=metrics,
        job_id=job.id,
        metadata=job.user_metadata,
    )
    # Keys are unique per attempt, in case another one wins.
    audit_key, predictions_key = storage_keys.audit(model.id), storage_keys.predictions(model.id)
    files = {
        model.storage_key: data,
        audit_key: json.dumps(jsonable(result.audit.to_dict())).encode(),
        predictions_key: json.dumps(jsonable(_predictions(result))).encode(),
    }
    change = patiently(
        lambda: change_of(
            lease.context,
            job,
            result.predictions,
            result.model.manifest.classes,
            metrics["noise_rate"],
        )
    )
    # Not after a database error: the transition may have been committed.
    try:
        for key, content in files.items():
            patiently(partial(storage.put_bytes, key, content))
        patiently(
            lambda: lease.succeed(
                model,
                config=config,
                metrics=metrics,
                audit_key=audit_key,
                predictions_key=predictions_key,
                change=jsonable(change),
                health=health,
            )
        )
    except (StepRefusedError, OSError):
        for key in files:
            storage.delete(key)
        raise


def _predictions(result: TuneResult) -> dict[str, Any]:
    """Return the document of the predictions; its last member are the entries."""
    return {
        **{name: result.metrics[name] for name in ("measured_on", "labels", "served")},
        "images": len(result.predictions),
        "entries": [asdict(each) for each in result.predictions],
    }
