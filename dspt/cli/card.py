"""`dspt card`: the model card of a tuned classifier."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dspt.cli.options import AsJson, TunedFile
from dspt.cli.terminal import check_writable, errors_shown, out, print_json, writing

if TYPE_CHECKING:
    from dspt.report.card import ModelCard

OutFile = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Markdown file to write. Training curves are saved next to it as SVG. Default: print "
        "to standard output.",
        dir_okay=False,
        show_default=False,
    ),
]


def card(
    model: TunedFile,
    to: OutFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the model card of a tuned classifier, with what its file contains.

    The card of `dspt models card` also has the data, the files left out and the training curves.
    """
    with errors_shown():
        from dspt.model.artifact import load_model
        from dspt.report.card import card_of

        show_card(card_of(load_model(model).manifest, name=model.name), to, as_json)


def show_card(found: ModelCard, to: Path | None, as_json: bool) -> None:
    """Print a card, or write it to `to`. Raises ConfigError if `to` cannot be written."""
    from dspt.report.card import to_markdown, write_card

    files = []
    if to is not None:
        check_writable(to)
        with writing(to):
            files = write_card(found, to)
    if as_json:
        print_json(found.model_dump(mode="json"))
    elif to is None:
        sys.stdout.write(to_markdown(found))
    else:
        out.print(f"Saved {' and '.join(map(str, files))}.", markup=False, soft_wrap=True)
