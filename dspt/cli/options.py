"""Options that `dspt tune` and `dspt audit` share: one per setting of TuneConfig."""

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

Data = Annotated[
    Path,
    typer.Argument(
        exists=True,
        show_default=False,
        help="Folder or zip: <class>/<image>, or train/<class>/... with test/ or val/ beside it, "
        "or images/ with labels.csv.",
    ),
]
ClassNames = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="JSON file that maps class folders to the words for the prompt.",
        show_default=False,
    ),
]
Corrected = Annotated[
    list[Path] | None,
    typer.Option(
        "--corrections",
        exists=True,
        dir_okay=False,
        help="CSV of dspt audit with the right class, or drop, filled in as correct_label. Can be "
        "given more than once, the oldest first.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, no tables.")]


def with_config_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` an option for every setting in place of its parameter `config`.

    Options that are not given are left to TuneConfig, whose messages name the setting at fault.
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
    """An option for every setting of TuneConfig, in its order."""
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
    """The mapping in a JSON file. Raises ConfigError if it is not one."""
    if path is None:
        return None
    try:
        found = json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid JSON: {error}", param="class_names") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: not a JSON object of folder: words", param="class_names")
    return found
