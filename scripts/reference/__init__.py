"""The reference in docs/reference/, written from the code: `make reference`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from scripts.reference import api, cli, client, errors, library, settings

FOLDER = Path(__file__).parents[2] / "docs" / "reference"

_NOTE = "<!-- Written by `make reference` from the code; changes made here are lost. -->\n\n"
_PAGES: dict[str, Callable[[], str]] = {
    "api.md": api.page,
    "cli.md": cli.page,
    "client.md": client.page,
    "errors.md": errors.page,
    "library.md": library.page,
    "settings.md": settings.page,
}


def pages() -> dict[str, str]:
    """File name in docs/reference/ -> its content."""
    return {name: _NOTE + page().rstrip() + "\n" for name, page in _PAGES.items()}
