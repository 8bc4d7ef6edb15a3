"""`dspt tune`: tune a classifier on a folder or zip of labelled photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dspt.cli.options import (
    AsJson,
    ClassNames,
    Corrected,
    Data,
    read_class_names,
    with_config_options,
)
from dspt.cli.tables import accuracies, suspects
from dspt.cli.terminal import check_writable, errors_shown, out, print_json, run_tuning, writing
from dspt.config import TuneConfig

SHOWN = 10


@with_config_options
def tune(
    data: Data,
    out_file: Annotated[
        Path,
        typer.Option("--out", help="File to write the tuned classifier to.", dir_okay=False),
    ] = Path("model.safetensors"),
    corrections: Corrected = None,
    class_names: ClassNames = None,
    as_json: AsJson = False,
    *,
    config: TuneConfig,
) -> None:
    """Tune a classifier on labelled photos; some labels may be wrong."""
    with errors_shown(data):
        check_writable(out_file)
        result = run_tuning(data, read_class_names(class_names), config, corrections or ())
        from dspt.model.artifact import save_model

        with writing(out_file):
            save_model(result.model, out_file)
    if as_json:
        print_json(
            {
                "model": str(out_file),
                "config": result.config.model_dump(),
                "metrics": result.metrics,
                "audit": result.audit.to_dict(),
            }
        )
        return
    out.print(accuracies(result.metrics, result.config.model_dump()))
    out.print(result.metrics["why"], markup=False)
    out.print(suspects(result.audit.to_dict(), SHOWN))
    out.print(f"Saved {out_file} ({out_file.stat().st_size / 1024:.0f} KiB).", markup=False)
