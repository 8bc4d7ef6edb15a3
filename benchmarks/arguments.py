"""Options that several benchmarks have."""

from __future__ import annotations

import argparse
from pathlib import Path

import platformdirs

Options = argparse.ArgumentParser | argparse._ArgumentGroup


def add_data(options: Options) -> None:
    """--data."""
    options.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="data sets: folders with train/<class>/ and test/<class>/, labelled right",
    )


def add_config(options: Options) -> None:
    """--config."""
    options.add_argument(
        "--config",
        default="{}",
        metavar="JSON",
        help="other settings of the tuning, such as '{\"epochs\": 10}'",
    )


def add_device(options: Options) -> None:
    """--device and --precision."""
    options.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    options.add_argument(
        "--precision", choices=("auto", "float32", "bfloat16"), default="auto", help="while tuning"
    )


def add_features(options: Options) -> None:
    """--features."""
    options.add_argument(
        "--features",
        type=Path,
        default=Path(platformdirs.user_cache_dir("dspt")) / "features",
        metavar="DIR",
        help="where features of images are kept between runs (default: the user's cache)",
    )


def add_results(options: Options) -> None:
    """--out."""
    options.add_argument(
        "--out",
        type=Path,
        default=Path("benchmarks") / "results",
        metavar="DIR",
        help="folder for the results (default: benchmarks/results)",
    )


def positive(text: str) -> int:
    """Type of an option: a whole number from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value
