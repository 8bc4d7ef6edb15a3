"""`python -m scripts.demo.photos`: write the demo's photographs as files, to try the service on."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Annotated

import typer

from app.datasets.demo_photos import make_demo_data


def photos(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")] = Path("demo"),
) -> None:
    """Write the demo's photographs: photos/, photos.zip (the same) and new/ (to classify)."""
    data = make_demo_data()
    (folder / "new").mkdir(parents=True, exist_ok=True)
    (folder / "photos.zip").write_bytes(data.zip)
    with zipfile.ZipFile(io.BytesIO(data.zip)) as archive:
        archive.extractall(folder / "photos")
    for image in data.unseen:
        (folder / "new" / image.name).write_bytes(image.jpeg)
    typer.echo(
        f"{folder}/photos.zip and {folder}/photos: labelled photographs; {len(data.planted)} "
        f"labels are wrong on purpose.\n{folder}/new: {len(data.unseen)} photographs to classify."
    )


if __name__ == "__main__":
    typer.run(photos)
