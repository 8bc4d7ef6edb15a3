"""open_clip's architectures by name, from its files: importing open_clip takes seconds."""

from __future__ import annotations

import difflib
import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from dspt.errors import UnknownBackbone


def architectures() -> frozenset[str]:
    """Return the names of all architectures, as `open_clip.list_models()` does.

    This includes those that the program registered with open_clip, which it has imported then.
    """
    open_clip = sys.modules.get("open_clip")
    return _files() if open_clip is None else _files().union(open_clip.list_models())


@lru_cache(maxsize=1)
def _files() -> frozenset[str]:
    spec = find_spec("open_clip")
    folders = [] if spec is None else spec.submodule_search_locations or []
    files = (file for each in folders for file in (Path(each) / "model_configs").glob("*.json"))
    return frozenset(file.stem for file in files)


def known_architecture(name: str) -> str:
    """Return `name`. Raises UnknownBackbone, with similar names, if it is no architecture."""
    known = architectures()
    if name in known:
        return name
    lower = {model.lower(): model for model in ["builtin", *sorted(known)]}
    close = [lower[m] for m in difflib.get_close_matches(name.lower(), lower, n=3)]
    hint = f" (did you mean {' or '.join(close)}?)" if close else ""
    raise UnknownBackbone(
        f"unknown backbone {name}{hint}; use `builtin`, ARCHITECTURE/TAG such as ViT-B-16/openai, "
        "ARCHITECTURE@/path/to/weights, or local-dir:/path/to/folder",
        param="backbone",
    )


def split_name(name: str) -> tuple[str, str]:
    """Return architecture and tag of `ViT-B-16/openai` or `ViT-B/16/openai`; "" without a tag.

    Raises UnknownBackbone if the architecture is unknown.
    """
    architecture, _, tag = name.rpartition("/")
    whole = name.replace("/", "-")
    if not architecture or whole in architectures():
        return known_architecture(whole), ""
    return known_architecture(architecture.replace("/", "-")), tag
