"""Output of predictions: text, JSON and CSV.

An answer is `{file, label, score, top: [{label, score}]}`. An image that fits no class has
`rejected: true` instead of `label`; an unreadable one is `{file, error: {code, message}}`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from dspt.cli.terminal import out, print_json, print_stderr, writing
from dspt.errors import ConfigError
from dspt.kit.files import atomic_write
from dspt.kit.text import counted, listed

Answer = dict[str, Any]

Images = Annotated[
    list[Path],
    typer.Argument(
        metavar="image", help="Image files or folders of image files.", show_default=False
    ),
]
TopK = Annotated[int, typer.Option(min=1, help="Number of classes to show per image.")]
RejectBelow = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Return no label if the most probable class is below this probability.",
        show_default=False,
    ),
]
CsvFile = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        help="Write one line per image to this file: file, label, score and error.",
        dir_okay=False,
        show_default=False,
    ),
]

_LEFT_OUT_SHOWN = 3
_COLUMNS = ("file", "label", "score", "error")


def image_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files in `paths`, with each folder replaced by the images in and below it.

    In folders, files whose suffix is not that of an image are recognised by their content; other
    files are listed on standard error. Raises ConfigError for a folder without images.
    """
    from dspt.data.names import is_noise, natural_key

    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        within = {file.relative_to(path).as_posix(): file for file in path.rglob("*")}
        names = [n for n in sorted(within, key=natural_key) if not is_noise(n)]
        inside = [within[name] for name in names if within[name].is_file()]
        found = [file for file in inside if _is_image(file)]
        if not found:
            raise ConfigError(f"{path}: no images in this folder")
        if left_out := [file for file in inside if file not in set(found)]:
            shown = listed(left_out, _LEFT_OUT_SHOWN, lambda file: file.name)
            print_stderr(f"{path}: left out {shown} (not images)", "yellow")
        files += found
    return files


def _is_image(file: Path) -> bool:
    from dspt.data.formats import is_image
    from dspt.data.tree import IMAGE_SUFFIXES

    if file.name.lower().endswith(IMAGE_SUFFIXES):
        return True
    try:
        with file.open("rb") as opened:
            return is_image(opened.read(512))
    except OSError:
        return False


def read_error(error: OSError) -> Answer:
    """Return the `error` part of an answer for a file that cannot be read."""
    return {"error": {"code": "unreadable_file", "message": f"cannot be read: {error.strerror}"}}


def print_answers(answers: Sequence[Answer], csv_file: Path | None, about: Answer | None) -> None:
    """Print the answers as text, or with `about` as one JSON document that starts with its fields.

    Exits with status 1 if an answer has an error.
    """
    if csv_file is not None:
        with writing(csv_file):
            atomic_write(csv_file, _table(answers))
    if about is not None:
        print_json({**about, "predictions": answers})
    elif csv_file is not None:
        out.print(
            f"Saved {csv_file} ({counted(len(answers), 'image')}).", markup=False, soft_wrap=True
        )
    for answer in answers:
        if "error" in answer and about is None:
            print_stderr(f"{answer['file']}: {answer['error']['message']}", "red")
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
