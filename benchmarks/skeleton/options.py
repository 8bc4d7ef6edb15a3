"""Command-line options: a short way to add one, and those that several benchmarks have."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import platformdirs

from dspt.config import TuneConfig

Number = TypeVar("Number", int, float)
Options = argparse.ArgumentParser | argparse._ArgumentGroup


def add(options: Options, name: str, default: Any, what: str, **more: Any) -> None:
    """Add an option. Its help names the default; a list as default means several values."""
    if isinstance(default, list):
        more.setdefault("nargs", "+")
    if not (default is None or default is False or default == {} or "(default" in what):
        what += f" (default: {shown(default)})"
    options.add_argument(name, default=default, help=what, **more)


def add_common(options: Options, *names: str, **defaults: Any) -> None:
    """Add options of COMMON by name; `defaults` adds more, with another default."""
    for name in (*names, *defaults):
        default, what, more = COMMON[name]
        add(options, f"--{name}", defaults.get(name, default), what, **more)


def tune_config(options: argparse.Namespace) -> TuneConfig:
    """Return the settings in --backbone and --config. Raises ConfigError."""
    return TuneConfig.parse({"backbone": options.backbone, **options.config})


def shown(value: Any) -> str:
    """Return a default value as one would type it: `0 0.25 0.5`."""
    if isinstance(value, list):
        return " ".join(map(shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(
    kind: Callable[[str], Number], valid: Callable[[Number], bool], wanted: str
) -> Callable[[str], Number]:
    """Return the type of an option; `wanted` says which numbers are valid."""

    def parse(text: str) -> Number:
        with suppress(ValueError):
            value = kind(text)
            if valid(value):
                return value
        raise argparse.ArgumentTypeError(f"{text!r} must be {wanted}")

    return parse


count = _number(int, lambda value: value >= 0, "a whole number from 0")
positive = _number(int, lambda value: value >= 1, "a whole number from 1")
at_least_two = _number(int, lambda value: value >= 2, "a whole number from 2")
positive_number = _number(float, lambda value: 0 < value < float("inf"), "a number above 0")
share = _number(float, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def json_object(text: str) -> dict[str, Any]:
    """Type of an option: a JSON object."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"invalid JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("must be a JSON object")
    return value


_FOLDER = {"type": Path, "metavar": "DIR"}
COMMON: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "data": (
        None,
        "required: data sets with correct labels, each a folder with train/<class>/ and "
        "test/<class>/, or a folder of such folders",
        {**_FOLDER, "nargs": "+"},
    ),
    "backbone": (
        "builtin",
        "builtin, an open_clip name and tag such as ViT-B-16/openai, or local-dir:/path",
        {"metavar": "NAME"},
    ),
    "config": (
        {},
        "other settings of the tuning, such as '{\"epochs\": 10}'",
        {"type": json_object, "metavar": "JSON"},
    ),
    "device": ("auto", "auto (a GPU if there is one), cpu, cuda or cuda:N", {}),
    "precision": ("auto", "of the tuning", {"choices": ("auto", "float32", "bfloat16")}),
    "features": (
        Path(platformdirs.user_cache_dir("dspt")) / "features",
        "cache of image features (default: the user's cache folder)",
        _FOLDER,
    ),
    "jobs": (
        1,
        "cells at once, each in a process that loads the backbone",
        {"type": positive, "metavar": "N"},
    ),
    "budget": (
        None,
        "start no further cell after so many minutes (default: no limit); the same command resumes",
        {"type": positive_number, "metavar": "MINUTES"},
    ),
    "seed": (1, "random seed", {"type": count}),
    "seeds": (
        [1, 2, 3],
        "of the few shots, the wrong labels and the tuning",
        {"type": count, "metavar": "S"},
    ),
    "rates": ([0.0], "shares of wrong labels to inject", {"type": share, "metavar": "R"}),
    "shots": (16, "training images per class", {"type": positive, "metavar": "N"}),
    "protocol": (
        "global",
        "global: flip that share of all shots; per_class: of each class",
        {"choices": ("global", "per_class")},
    ),
    "kinds": (
        ["symmetric", "asymmetric"],
        "of wrong labels to inject",
        {"choices": ("symmetric", "asymmetric")},
    ),
    "given-labels": (
        None,
        "labels by human annotators instead of injected noise: a table with a column `file` (path "
        "within the data set) and one column per annotation; needs a single data set",
        {"type": Path, "metavar": "FILE.csv"},
    ),
    "given-column": (
        ["label"],
        "columns of that table to use, one after the other",
        {"metavar": "NAME"},
    ),
    "logistic-c": (
        None,
        "inverse regularisation strength of logistic regression (default: the one of 0.3, 1, 3, "
        "10, 30, 100 that agrees best with the noisy labels in 5-fold cross-validation)",
        {"type": positive_number, "metavar": "C"},
    ),
    "logs": (None, "keep the logs of the service in this folder", _FOLDER),
    "out": (Path("benchmarks") / "results", "folder for the results", _FOLDER),
    "report-only": (
        False,
        "measure nothing: write tables and figures again from the JSON in --out",
        {"action": "store_true"},
    ),
}
"""Name -> default, help and arguments of `add_argument`."""
