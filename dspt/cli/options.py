"""Options shared by the commands, with one option per setting of TuneConfig."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from dspt.cli.terminal import errors_shown
from dspt.config import TuneConfig
from dspt.errors import ConfigError

_DATA = typer.Argument(
    exists=True,
    show_default=False,
    help="Folder or zip: <class>/<image>, or train/<class>/<image> with an optional test/ or "
    "val/, or images/ with labels.csv.",
)
Data = Annotated[Path, _DATA]
OptionalData = Annotated[Path | None, _DATA]
ClassNames = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="JSON file that maps each class folder to its words in the prompt.",
        show_default=False,
    ),
]
TunedFile = Annotated[
    Path,
    typer.Argument(
        exists=True, dir_okay=False, help="Tuned classifier (.safetensors) from dspt tune."
    ),
]
BackboneName = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        help="Backbone to load. Default: the backbone that the classifier was tuned on.",
        show_default=False,
    ),
]
Corrected = Annotated[
    list[Path] | None,
    typer.Option(
        "--corrections",
        exists=True,
        dir_okay=False,
        help="CSV from dspt audit with correct_label filled in: the correct class, drop, or keep. "
        "Repeatable, oldest first.",
        show_default=False,
    ),
]


def csv_option(accepted_by: str) -> Any:
    """Return the option for a table of labels. accepted_by: the option or command to pass it to."""
    return typer.Option(
        "--csv",
        help="Write the ranking of all files to this file, with an empty column correct_label. "
        "Fill in the correct class, drop, or keep for a right label, and pass the file to "
        f"{accepted_by}.",
        dir_okay=False,
        show_default=False,
    )


def page_option(accepted_by: str) -> Any:
    """Return the option for a page to check labels on, which saves the table of `csv_option`."""
    return typer.Option(
        "--html",
        help="Write a page with the suspect photos to this file: decide in a browser, save the "
        f"table, and pass it to {accepted_by}.",
        dir_okay=False,
        show_default=False,
    )


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def with_config_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter `config` of `command` by one option per setting.

    TuneConfig validates the values and gives missing ones their default.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.name != "config"]

    def run(**values: Any) -> None:
        given = {name: values.pop(name) for name in TuneConfig.model_fields}
        with errors_shown():
            config = TuneConfig.parse({k: v for k, v in given.items() if v is not None})
        command(config=config, **values)

    run.__signature__ = inspect.Signature(own + config_parameters())  # type: ignore[attr-defined]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


def config_parameters() -> list[inspect.Parameter]:
    """Return one keyword-only parameter per setting of TuneConfig, in its order."""
    parameters = []
    for name, field in TuneConfig.model_fields.items():
        kind = field.annotation if field.annotation in (bool, int, float) else str
        if field.annotation in (int | None, float | None):
            kind = get_args(field.annotation)[0]
        help_text = (field.description or "").replace("`", "")
        if get_origin(field.annotation) is Literal:
            help_text += f" One of {', '.join(get_args(field.annotation))}."
        option = typer.Option(
            f"--{name.replace('_', '-')}",
            help=help_text,
            show_default=field.default is not None and kind is not bool,
        )
        parameters.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=Annotated[kind | None, option],
            )
        )
    return parameters


def read_class_names(path: Path | None) -> dict[str, str] | None:
    """Read a mapping from a JSON file. Raises ConfigError if the file is not a JSON object."""
    if path is None:
        return None
    try:
        found = json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid JSON: {error}", param="class_names") from error
    if not isinstance(found, dict):
        raise ConfigError(
            f"{path}: must be a JSON object that maps class folders to words", param="class_names"
        )
    return found
