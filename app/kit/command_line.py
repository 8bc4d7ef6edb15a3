"""What the commands of the service have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from app.kit.settings import Settings

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Directory of everything that is kept. Left out: DSPT_DATA_DIR, or the platform's "
        "place for a user's data.",
        show_default=False,
    ),
]


def settings_from(data_dir: Path | None) -> Settings:
    """The environment's settings, for `data_dir` if it is given; wrong ones end the program."""
    try:
        return Settings() if data_dir is None else Settings(data_dir=data_dir)
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(["DSPT", *(str(part).upper() for part in problem["loc"])])
            typer.echo(f"{name}: {problem['msg']}", err=True)
        raise typer.Exit(2) from error
