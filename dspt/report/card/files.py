"""Write a card to files."""

from __future__ import annotations

from pathlib import Path

from dspt.kit.files import atomic_write
from dspt.report.card.curves import curves_svg
from dspt.report.card.markdown import to_markdown
from dspt.report.card.schema import ModelCard


def write_card(card: ModelCard, path: Path) -> list[Path]:
    """Write the card as Markdown and its curves, if any, next to it as SVG.

    Returns the paths written. Raises OSError.
    """
    written = [path]
    picture = None
    if card.epochs:
        drawing = path.with_suffix(".svg")
        atomic_write(drawing, curves_svg(card.epochs).encode())
        written.append(drawing)
        picture = drawing.name
    atomic_write(path, to_markdown(card, picture=picture).encode())
    return written
