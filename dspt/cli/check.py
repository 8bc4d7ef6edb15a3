"""`dspt check`: the health of a folder or zip of labelled photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from dspt.cli.health import Files, print_health
from dspt.cli.options import AsJson, ClassNames, Data, read_class_names
from dspt.cli.terminal import Bar, errors_shown, feature_dir, print_json
from dspt.config import TuneConfig
from dspt.errors import DatasetError
from dspt.kit.cpus import set_thread_defaults

if TYPE_CHECKING:
    from dspt.report.health import HealthReport

_REFUSED = 1


def check(
    data: Data,
    class_names: ClassNames = None,
    backbone: Annotated[
        str,
        typer.Option(help="Backbone that finds copies and judges the names, as in dspt tune."),
    ] = TuneConfig().backbone,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast",
            help="Use no backbone: finds fewer of the cropped copies, and judges the names of the "
            "classes by their form only.",
        ),
    ] = False,
    files: Files = False,
    as_json: AsJson = False,
) -> None:
    """Check labelled photos before tuning: what is wrong, which files, and how to fix it.

    The exit code is 1 if a job would refuse the data. Wrong labels are found by dspt audit.
    """
    with errors_shown(data):
        config = TuneConfig.parse({"backbone": backbone})
        report = _check(data, read_class_names(class_names), config, fast=fast)
    found = report.to_dict()
    if as_json:
        print_json(found)
    else:
        print_health(found, files=files)
    if not report.usable:
        raise typer.Exit(_REFUSED)


def _check(
    data: Path, class_names: dict[str, str] | None, config: TuneConfig, *, fast: bool
) -> HealthReport:
    set_thread_defaults()
    from dspt.data import load_dataset
    from dspt.report.health import HealthReport

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Bar(*columns, transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def advance(stage: str, done: int, total: int) -> None:
            bar.advance_to(task, done, stage, total=total)

        try:
            with load_dataset(
                data, class_names, progress=lambda *step: advance("reading", *step)
            ) as dataset:
                # Imported here because torch takes seconds to import.
                from dspt.kit.light_torch import import_light

                import_light()
                from dspt.backbones import load_backbone
                from dspt.kit.device import resolve_device
                from dspt.report.check import check_dataset

                stage = "shrinking" if fast else "encoding"
                return check_dataset(
                    dataset,
                    config,
                    None
                    if fast
                    else load_backbone(config.backbone, device=resolve_device(config.device)),
                    feature_dir=feature_dir(),
                    progress=lambda *step: advance(stage, *step),
                )
        except DatasetError as error:
            return HealthReport.refused(error)
