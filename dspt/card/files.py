"""A card on the disk."""

from __future__ import annotations

from pathlib import Path

from dspt.card.curves import curves_svg
from dspt.card.markdown import to_markdown
from dspt.card.schema import ModelCard
from dspt.files import write_whole


def write_card(card: ModelCard, path: Path) -> list[Path]:
    """Write the card as Markdown, and the curves beside it if there are any. Raises OSError."""
    written = [path]
    picture = None
    if card.epochs:
        drawing = path.with_suffix(".svg")
        write_whole(drawing, curves_svg(card.epochs).encode())
        written.append(drawing)
        picture = drawing.name
    write_whole(path, to_markdown(card, picture=picture).encode())
    return written
