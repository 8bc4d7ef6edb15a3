"""`dspt jobs`: upload photos, follow the tuning, check and correct the labels."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from dspt_client.schemas.status import Status

from app.commands import _find as find
from app.commands._follow import Watch, follow, print_job, results
from app.commands._service import (
    AsJson,
    Limit,
    Metadata,
    Name,
    Url,
    WithMetadata,
    check_photos,
    group,
    packing,
    pairs,
    print_deleted,
    print_list,
    service,
)
from app.commands._tables import job_details, jobs_table, predictions_table, verdicts_table
from dspt.cli.options import (
    ClassNames,
    config_parameters,
    csv_option,
    page_option,
    read_class_names,
)
from dspt.cli.tables import suspects
from dspt.cli.terminal import keep_corrections, out, print_json, print_stderr, writing
from dspt.config import TuneConfig

if TYPE_CHECKING:
    from dspt_client import Audit, Client, Job

    from dspt.labels.corrections import Corrections

jobs = group("Tune classifiers on a service and check the labels.")

JobId = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        help="Id, unique beginning of an id, or name of a job; see `dspt jobs list`.",
        show_default=False,
    ),
]
#: Settings that a service ignores; kept, so that older scripts work.
_OPERATORS = {"device", "precision"}
_VERDICTS_AT_ONCE = 5000


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter `config` of `command` by one option per setting.

    Only the settings that were given are sent; the service has its own defaults.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.name != "config"]

    def run(**values: Any) -> None:
        given = {name: values.pop(name) for name in TuneConfig.model_fields}
        command(config={k: v for k, v in given.items() if v is not None}, **values)

    settings = [parameter.replace(default=None) for parameter in config_parameters()]
    for parameter in settings:
        parameter.annotation.__metadata__[0].hidden = parameter.name in _OPERATORS
    run.__signature__ = inspect.Signature(own + settings)  # type: ignore[attr-defined]
    run.__doc__ = command.__doc__
    return run


@jobs.command("submit")
@_with_settings
def submit(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            show_default=False,
            help="Folder (it is zipped first), zip, or id of an existing data set (ds_...).",
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Default: the name of the file.")] = None,
    class_names: ClassNames = None,
    metadata: Metadata = None,
    watch: Watch = False,
    url: Url = None,
    as_json: AsJson = False,
    *,
    config: dict[str, Any],
) -> None:
    """Tune a classifier on labelled photos, some of them mislabelled.

    Settings that are not given have the defaults of the service; `dspt tune --help` lists them.
    """
    from dspt_client._calls import DATASET_ID

    for setting in _OPERATORS & config.keys():
        print_stderr(
            f"warning: --{setting} is ignored: the operator of the service chooses it.", "yellow"
        )
    own = pairs(metadata)
    with service(url) as client:
        with packing() as advance:
            words = read_class_names(class_names)
            if not DATASET_ID.fullmatch(data):
                check_photos(Path(data))
            job = client.jobs.create(
                data,
                config=config,
                class_names=words,
                name=name,
                metadata=own,
                on_progress=advance,
            )
        follow(job, watch, as_json)


@jobs.command("list")
def list_jobs(
    status: Annotated[
        Status | None, typer.Option(help="Show only jobs with this status.", show_default=False)
    ] = None,
    name: Name = None,
    metadata: WithMetadata = None,
    limit: Limit = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    own = pairs(metadata)
    with service(url) as client:
        listed = client.jobs.list(status=status, name=name, metadata=own)
        found = [job.view for job in islice(listed, limit)]
    print_list(found, as_json, jobs_table, "No jobs.")


@jobs.command()
def show(job_id: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Show a job: progress, errors and metrics."""
    from dspt_client._bar import left_out
    from dspt_client._exceptions import named_problems

    with service(url) as client:
        job = client.jobs.get(find.job_id(client, job_id))
        if as_json:
            print_job(job)
            return
        out.print(job_details(job.view))
        for text in job.view.warnings:
            out.print(f"warning: {text}", style="yellow", markup=False)
        if job.view.error is not None:
            out.print(f"error: {job.view.error.message}", style="red", markup=False)
        for line in named_problems(job.view):
            out.print(line, markup=False)
        for line in left_out(job.view):
            out.print(line, markup=False, soft_wrap=True)
        results(job)


@jobs.command()
def watch(job_id: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Follow a job until it ends. The exit code is 0 if it succeeded."""
    with service(url) as client:
        follow(client.jobs.get(find.job_id(client, job_id)), True, as_json)


@jobs.command()
def cancel(job_id: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Stop a job. A running job stops after its current step."""
    with service(url) as client:
        follow(client.jobs.cancel(find.job_id(client, job_id)), False, as_json)


@jobs.command()
def retry(job_id: JobId, watch: Watch = False, url: Url = None, as_json: AsJson = False) -> None:
    """Run a failed or cancelled job again, with the same photos and settings."""
    with service(url) as client:
        follow(client.jobs.retry(find.job_id(client, job_id)), watch, as_json)


@jobs.command()
def delete(job_id: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Delete a finished job. Its model is kept.

    Its photos are deleted with the last job on them; those of a data set that was uploaded by
    itself, or with more than 64 MiB in parts, by `dspt datasets delete`.
    """
    with service(url) as client:
        deleted = find.job_id(client, job_id)
        client.jobs.delete(deleted)
    print_deleted("job", deleted, as_json)


@jobs.command()
def audit(
    job_id: JobId,
    csv_file: Annotated[Path | None, csv_option("dspt jobs correct")] = None,
    html_file: Annotated[Path | None, page_option("dspt jobs correct")] = None,
    most: Annotated[int, typer.Option(min=1, help="Show at most this many suspects.")] = 50,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show the labels that are probably wrong."""
    with service(url) as client:
        if csv_file is not None:
            keep_corrections(csv_file, "dspt jobs correct")
        job = client.jobs.get(find.job_id(client, job_id))
        report = job.audit()
        if csv_file is not None:
            report.to_csv(csv_file)
        if html_file is not None:
            with writing(html_file):
                html_file.write_text(_page(client, job, report, most), "utf-8")
    if as_json:
        print_json(report.model_dump(mode="json"))
        return
    out.print(suspects(report.model_dump(), most))
    if csv_file is not None:
        out.print(f"All {len(report)} files ranked in {csv_file}.", markup=False, soft_wrap=True)
    if html_file is not None:
        out.print(f"Open {html_file} in a browser to check the labels.", markup=False)


@jobs.command()
def predictions(
    job_id: JobId,
    label: Annotated[
        str | None, typer.Option(help="Only photos with this label.", show_default=False)
    ] = None,
    predicted: Annotated[
        str | None, typer.Option(help="Only photos predicted as this class.", show_default=False)
    ] = None,
    right: Annotated[
        bool | None,
        typer.Option("--right/--wrong", help="Only right or only wrong ones.", show_default=False),
    ] = None,
    most: Limit = 50,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show the predictions for the photos that the accuracy of a job was measured on."""
    with service(url) as client:
        found = client.jobs.predictions(
            find.job_id(client, job_id), label=label, predicted=predicted, right=right
        )
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    out.print(predictions_table(found.entries[:most]))
    out.print(f"{len(found.entries)} of {found.images} photos.", markup=False)


CorrectedCsv = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        exists=True,
        dir_okay=False,
        help="The table of dspt jobs audit with the column correct_label filled in.",
        show_default=False,
    ),
]


@jobs.command()
def review(
    job_id: JobId,
    csv_file: CorrectedCsv = None,
    most: Limit = 50,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show the verdicts that people have saved on the labels of a job.

    With --csv the decisions of a table are saved first. dspt jobs correct --review creates a job
    from the verdicts.
    """
    with service(url, csv_file) as client:
        job = client.jobs.get(find.job_id(client, job_id))
        if csv_file is not None:
            from dspt.labels.audit_csv import corrections_from_csv

            classes = job.view.dataset.classes or []
            decided = corrections_from_csv(csv_file.read_bytes(), csv_file.name, classes)
            verdicts = list(_verdicts_of(decided).items())
            for first in range(0, len(verdicts), _VERDICTS_AT_ONCE):
                part = dict(verdicts[first : first + _VERDICTS_AT_ONCE])
                client.jobs.save_review(job.id, part)
        found = client.jobs.review(job.id)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    out.print(verdicts_table(list(found.verdicts.items())[:most]))
    counts = found.counts
    out.print(
        f"{counts.keep} kept, {counts.relabel} relabelled, {counts.drop} dropped.", markup=False
    )


@jobs.command()
def correct(
    job_id: JobId,
    csv_file: CorrectedCsv = None,
    reviewed: Annotated[
        bool, typer.Option("--review", help="Use the verdicts of dspt jobs review.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="Default: the name of the old job with (corrected).")
    ] = None,
    watch: Watch = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Create a job on corrected labels. The old job is kept.

    In the column correct_label write the correct class, new: and a class that is not there yet,
    drop, or keep for a right label, which later audits do not list again. Photos that the old job
    held out are held out again, and the new job shows the difference.
    """
    if (csv_file is None) != reviewed:
        raise typer.BadParameter("Pass either --csv FILE or --review.")
    with service(url, csv_file) as client:
        found = find.job_id(client, job_id)
        job = client.jobs.correct(found, csv=csv_file, review=reviewed, name=name)
        follow(job, watch, as_json)


def _verdicts_of(decided: Corrections) -> dict[str, dict[str, Any]]:
    """Return corrections as verdicts of a review."""
    relabel = {
        file: {"action": "relabel", "label": name, "new_class": name in decided.new_classes}
        for file, name in decided.relabel.items()
    }
    others = (("keep", decided.keep), ("drop", decided.drop))
    return relabel | {file: {"action": action} for action, files in others for file in files}


def _page(client: Client, job: Job, report: Audit, most: int) -> str:
    """Return the audit as an HTML page to check the labels."""
    from dspt.report.review_page import classes_of, review_page

    entries = report.model_dump()["entries"]
    dataset_id, gone = job.view.dataset.id, job.view.dataset.expired_at is not None

    def thumbnail(entry: Mapping[str, Any]) -> bytes | None:
        if gone or entry["image"] is None:
            return None
        return client.datasets.image(dataset_id, entry["image"], size="192")

    return review_page(
        entries,
        job.view.dataset.classes or classes_of(entries),
        report.suspects,
        thumbnail,
        most=most,
        title=f"Labels to check: {job.view.name}",
        command=f"dspt jobs correct {job.id} --csv",
    )
