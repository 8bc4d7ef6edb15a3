"""`python -m scripts.reference`: write docs/reference/."""

from __future__ import annotations

from scripts.reference import FOLDER, pages

FOLDER.mkdir(parents=True, exist_ok=True)
for name, text in pages().items():
    (FOLDER / name).write_text(text, "utf-8")
    print(FOLDER / name)
