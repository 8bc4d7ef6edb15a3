"""Zero-shot accuracy of the built-in backbone.

    python -m benchmarks.builtin_zero_shot --data DIR...

Each DIR is a folder or zip of labelled photos; where it has a test part, that part is measured.
The prompt is "a photo of a {class}.". Prints a table and, with --json, writes the figures.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dspt.backbones import Backbone
from dspt.backbones.builtin import load_builtin
from dspt.data import load_dataset, read_image
from dspt.prompt.learner import zero_shot_embeddings

BATCH = 32


@dataclass(frozen=True)
class Row:
    dataset: str
    classes: int
    images: int
    accuracy: float
    """Percent."""
    chance: float
    """Percent."""


def measure(backbone: Backbone, path: Path) -> Row:
    """Zero-shot accuracy on a data set's test part, or on all of it where it has none."""
    with load_dataset(path) as dataset:
        items = dataset.of_split("test") or dataset.items
        classes = zero_shot_embeddings(backbone, dataset.class_words)
        right = 0
        for at in range(0, len(items), BATCH):
            batch = items[at : at + BATCH]
            pixels = torch.stack([backbone.preprocess(read_image(dataset, i)) for i in batch])
            guessed = (backbone.encode_image(pixels) @ classes.T).argmax(1)
            right += int((guessed == torch.tensor([i.label for i in batch])).sum())
    n_classes = len(dataset.classes)
    return Row(path.stem, n_classes, len(items), 100 * right / len(items), 100 / n_classes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="DIR")
    parser.add_argument(
        "--weights", type=Path, help="folder with other weights of our own, such as a rebuild"
    )
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()

    backbone = load_builtin(folder=options.weights)
    console = Console()
    rows = [
        measure(backbone, path)
        for path in track(options.data, "measuring", console=Console(stderr=True))
    ]
    mean = sum(row.accuracy for row in rows) / len(rows)
    table = Table("data set", "classes", "images", "zero-shot %", "chance %", title="builtin")
    for row in rows:
        table.add_row(
            row.dataset,
            str(row.classes),
            str(row.images),
            f"{row.accuracy:.1f}",
            f"{row.chance:.1f}",
        )
    if len(rows) > 1:
        table.add_section()
        table.add_row("mean", "", "", f"{mean:.1f}", "")
    console.print(table)
    console.print(f"weights {backbone.digest}")
    if options.json:
        figures = {
            "backbone": backbone.name,
            "digest": backbone.digest,
            "prompt": "a photo of a {class}.",
            "mean": mean,
            "datasets": [asdict(row) for row in rows],
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
