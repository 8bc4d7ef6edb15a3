"""Predictions on a terminal, as JSON and as a table for a spreadsheet.

An answer is `{file, label, score, top: [{label, score}]}`, in place of the label `rejected: true`
where no class fits, or `{file, error: {code, message}}`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from dspt.cli.terminal import out, print_json, say, writing
from dspt.errors import ConfigError
from dspt.kit.files import atomic_write

Answer = dict[str, Any]

Images = Annotated[
    list[Path],
    typer.Argument(
        metavar="image", help="Image files, and folders with image files.", show_default=False
    ),
]
TopK = Annotated[int, typer.Option(min=1, help="Classes to show for each image.")]
RejectBelow = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="No label where the likeliest class is less probable: none of these.",
        show_default=False,
    ),
]
CsvFile = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        help="Write a line for each image here: file, label, score and error.",
        dir_okay=False,
        show_default=False,
    ),
]

#: Files in a folder are known by their names; any file that is named itself is looked into.
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_COLUMNS = ("file", "label", "score", "error")


def image_files(paths: Iterable[Path]) -> list[Path]:
    """The files in `paths` as they are, and all images in and below the folders among them.

    Raises ConfigError for a folder without any.
    """
    from dspt.data.names import is_noise, natural_key

    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        within = {file.relative_to(path).as_posix(): file for file in path.rglob("*")}
        found = [
            within[name]
            for name in sorted(within, key=natural_key)
            if name.lower().endswith(_SUFFIXES) and not is_noise(name) and within[name].is_file()
        ]
        if not found:
            raise ConfigError(f"{path}: no image in this folder ({', '.join(_SUFFIXES)})")
        files += found
    return files


def unreadable(error: OSError) -> Answer:
    """What an answer says in place of a label where the file cannot be read."""
    return {"error": {"code": "unreadable_file", "message": f"cannot be read: {error.strerror}"}}


def tell(answers: Sequence[Answer], csv_file: Path | None, about: Answer | None) -> None:
    """Print the answers, or with `about` one JSON document that begins with it.

    Ends the program with status 1 if an image has no answer.
    """
    if csv_file is not None:
        with writing(csv_file):
            atomic_write(csv_file, _table(answers))
    if about is not None:
        print_json({**about, "predictions": answers})
    elif csv_file is not None:
        out.print(f"{len(answers)} images in {csv_file}.", markup=False, soft_wrap=True)
    for answer in answers:
        if "error" in answer and about is None:
            say(f"{answer['file']}: {answer['error']['message']}", "red")
        elif about is None and csv_file is None:
            top = ", ".join(f"{one['label']} {one['score']:.1%}" for one in answer["top"])
            none = "none of these? " if answer.get("rejected") else ""
            out.print(f"{answer['file']}: {none}{top}", markup=False, soft_wrap=True)
    if any("error" in answer for answer in answers):
        raise typer.Exit(1)


def _table(answers: Iterable[Mapping[str, Any]]) -> bytes:
    from dspt.labels.audit_csv import spreadsheet_cell

    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for answer in answers:
        row = {**answer, "error": answer.get("error", {}).get("message", "")}
        writer.writerow([spreadsheet_cell(row.get(column, "")) for column in _COLUMNS])
    table = text.getvalue()
    return table.encode("ascii" if table.isascii() else "utf-8-sig")
