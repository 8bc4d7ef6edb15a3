"""Command-line options that several benchmarks have."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import platformdirs

from dspt.config import TuneConfig

Number = TypeVar("Number", int, float)
Options = argparse.ArgumentParser | argparse._ArgumentGroup


def new_parser(name: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of `python -m benchmarks.NAME`. Texts keep their line breaks."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_data(options: Options, more: str = "") -> None:
    """Add --data, which `program.run` requires unless it only writes a report."""
    options.add_argument(
        "--data",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="required: data sets with correct labels, each a folder with train/<class>/ and "
        f"test/<class>/{more}",
    )


def add_backbone(options: Options) -> None:
    """Add --backbone."""
    options.add_argument(
        "--backbone",
        default="builtin",
        metavar="NAME",
        help="builtin, an open_clip name and tag such as ViT-B-16/openai, or local-dir:/path "
        "(default: builtin)",
    )


def add_config(options: Options) -> None:
    """Add --config."""
    options.add_argument(
        "--config",
        type=json_object,
        default={},
        metavar="JSON",
        help="other settings of the tuning, such as '{\"epochs\": 10}'",
    )


def tune_config(options: argparse.Namespace) -> TuneConfig:
    """Return the settings in --backbone and --config. Raises ConfigError."""
    return TuneConfig.parse({"backbone": options.backbone, **options.config})


def add_device(options: Options) -> None:
    """Add --device and --precision."""
    options.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    options.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="of the tuning (default: auto)",
    )


def add_features(options: Options) -> None:
    """Add --features."""
    options.add_argument(
        "--features",
        type=Path,
        default=Path(platformdirs.user_cache_dir("dspt")) / "features",
        metavar="DIR",
        help="cache of image features (default: the user's cache folder)",
    )


def add_seeds(options: Options, default: list[int]) -> None:
    """Add --seeds."""
    options.add_argument(
        "--seeds",
        type=count,
        nargs="+",
        default=default,
        metavar="S",
        help=f"of the few shots, the wrong labels and the tuning (default: {shown(default)})",
    )


def add_rates(options: Options, default: list[float]) -> None:
    """Add --rates."""
    options.add_argument(
        "--rates",
        type=share,
        nargs="+",
        default=default,
        metavar="R",
        help=f"shares of wrong labels to inject (default: {shown(default)})",
    )


def add_shots(options: Options) -> None:
    """Add --shots."""
    options.add_argument(
        "--shots",
        type=positive,
        default=16,
        metavar="N",
        help="training images per class (default: 16)",
    )


def add_protocol(options: Options, choices: Sequence[str]) -> None:
    """Add --protocol."""
    options.add_argument(
        "--protocol",
        choices=choices,
        default="global",
        help="global: flip that share of all shots (default); per_class: of each class",
    )


def add_results(options: Options, default: Path = Path("benchmarks") / "results") -> None:
    """Add --out and --report-only, which every benchmark has."""
    options.add_argument(
        "--out",
        type=Path,
        default=default,
        metavar="DIR",
        help=f"folder for the results (default: {default})",
    )
    options.add_argument(
        "--report-only",
        action="store_true",
        help="measure nothing: write tables and figures again from the JSON in --out",
    )


def shown(values: Sequence[Any]) -> str:
    """Return default values as one would type them: `0 0.25 0.5`."""
    return " ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def count(text: str) -> int:
    """Type of an option: a whole number from 0."""
    return _checked(text, int, lambda value: value >= 0, "a whole number from 0")


def positive(text: str) -> int:
    """Type of an option: a whole number from 1."""
    return _checked(text, int, lambda value: value >= 1, "a whole number from 1")


def positive_number(text: str) -> float:
    """Type of an option: a number above 0."""
    return _checked(text, float, lambda value: 0 < value < float("inf"), "a number above 0")


def share(text: str) -> float:
    """Type of an option: a number from 0 to 1."""
    return _checked(text, float, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def json_object(text: str) -> dict[str, Any]:
    """Type of an option: a JSON object."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"invalid JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("must be a JSON object")
    return value


def _checked(
    text: str, kind: Callable[[str], Number], valid: Callable[[Number], bool], wanted: str
) -> Number:
    try:
        value = kind(text)
    except ValueError:
        pass
    else:
        if valid(value):
            return value
    raise argparse.ArgumentTypeError(f"{text!r} must be {wanted}")
