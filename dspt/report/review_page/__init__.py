"""One HTML page to review suspect labels without a service: photos, decisions, a table to save.

The page is a single file that loads nothing and sends nothing. Names in it are untrusted: they are
data, which the script shows as text.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

MAX_PHOTOS = 1000
"""A thumbnail has about 6 kB, so the page has about 8 MB."""
SIDE = 192
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; base-uri 'none'; \
form-action 'none'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>{style}</style>
<header>
<h1>{title}</h1>
<p>{shown} Decisions stay in this browser until you save the table, which {command} accepts.<br>
Keys: <kbd>&larr;</kbd> <kbd>&rarr;</kbd> photo, <kbd>K</kbd> keep, <kbd>A</kbd> accept the \
suggestion, <kbd>D</kbd> drop, <kbd>C</kbd> class, <kbd>U</kbd> undo.</p>
<button type="button" id="undo">Undo</button>
<button type="button" id="download">Save corrections.csv</button>
<span id="status" role="status"></span>
</header>
<main></main>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</html>
"""


def review_page(
    entries: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
    suspects: int,
    photo: Callable[[Mapping[str, Any]], bytes | None],
    *,
    most: int,
    title: str,
    command: str,
) -> str:
    """Return the page with all suspects, and with others up to `most` photos.

    Labels that were confirmed before are left out.

    entries: of an audit, in order. photo: returns the thumbnail of an entry as JPEG, or None.
    command: the command that takes the table. At most MAX_PHOTOS entries are shown.
    """
    open_ones = (entry for entry in entries if not entry.get("kept"))
    ordered = sorted(open_ones, key=lambda entry: not entry["suspect"])
    shown = ordered[: min(max(suspects, most), MAX_PHOTOS)]
    digest = hashlib.sha256(json.dumps([entry["file"] for entry in entries]).encode())
    document = {
        "id": digest.hexdigest(),
        "classes": list(classes),
        "entries": [_shown(entry, photo(entry)) for entry in shown],
    }
    style, script = (_text(name) for name in ("review.css", "review.js"))
    return _PAGE.format(
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        # No tag can end or begin within the data.
        data=json.dumps(document).replace("<", "\\u003c"),
        title=html.escape(title),
        command=html.escape(command),
        shown=f"{len(shown):,} of {len(entries):,} files, most suspicious first; {suspects:,} are "
        "suspect.",
    )


def classes_of(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the classes that occur in an audit."""
    return sorted({entry[name] for entry in entries for name in ("given", "suggested")})


def _shown(entry: Mapping[str, Any], photo: bytes | None) -> dict[str, Any]:
    found = {name: entry[name] for name in ("file", "given", "suggested", "score")}
    if photo is not None:
        found["photo"] = f"data:image/jpeg;base64,{base64.b64encode(photo).decode()}"
    return found


def _text(name: str) -> str:
    return files(__name__).joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
