"""open_clip's architectures by name, from its files: importing open_clip takes seconds."""

from __future__ import annotations

import ast
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
    files = (file for each in _folders() for file in (each / "model_configs").glob("*.json"))
    return frozenset(file.stem for file in files)


def _folders() -> list[Path]:
    """Return the folders of open_clip, without importing it."""
    spec = find_spec("open_clip")
    return [Path(each) for each in (spec.submodule_search_locations if spec else None) or []]


@lru_cache(maxsize=1)
def published_tags() -> dict[str, list[str]]:
    """Return the tags of all architectures with published weights, from open_clip's source.

    Architectures whose names end in -quickgelu are not in it: they share the tags of the others.
    """
    variables: dict[str, list[str]] = {}
    tags: dict[str, list[str]] = {}
    for folder in _folders():
        for node in ast.parse((folder / "pretrained.py").read_text("utf-8")).body:
            match node:
                case ast.Assign([ast.Name(name)], ast.Call() as table):
                    variables[name] = _keywords(table)
                case ast.Assign([ast.Name("_PRETRAINED")], ast.Dict(keys, values)):
                    for key, value in zip(keys, values, strict=True):
                        match key, value:
                            case ast.Constant(str(architecture)), ast.Call() as table:
                                tags[architecture] = _keywords(table)
                            case ast.Constant(str(architecture)), ast.Name(name):
                                tags[architecture] = variables.get(name, [])
    return tags


def _keywords(table: ast.Call) -> list[str]:
    """Return the keys of `dict(key=value, ...)`."""
    return [keyword.arg for keyword in table.keywords if keyword.arg]


def check_tag(architecture: str, tag: str) -> None:
    """Raise UnknownBackbone if the architecture has published weights, but none of this tag."""
    tags = published_tags().get(architecture.removesuffix("-quickgelu"), [])
    if tags and tag.lower().replace("-", "_") not in tags:
        raise UnknownBackbone(no_such_tag(architecture, tag, tags), param="backbone")


def no_such_tag(architecture: str, tag: str, tags: list[str]) -> str:
    """Return the message for a tag that is none of `tags`."""
    close = difflib.get_close_matches(tag.lower(), tags, n=1)
    hint = f"did you mean {architecture}/{close[0]}? " if close else ""
    return f"{architecture} has no weights {tag}: {hint}Available: {', '.join(tags)}"


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


def check_name(name: str) -> None:
    """Raise UnknownBackbone unless `name` is `builtin` or an architecture and published weights."""
    if name == "builtin":
        return
    architecture, tag = split_name(name)
    if not tag:
        raise UnknownBackbone(
            f"{name} does not name a set of weights; use {architecture}/TAG, such as "
            "ViT-B-16/openai",
            param="backbone",
        )
    check_tag(architecture, tag)
