"""`python -m benchmarks.builtin_zero_shot`."""

import sys
from argparse import ArgumentParser
from pathlib import Path

from benchmarks.skeleton.options import add, add_common
from benchmarks.skeleton.program import Benchmark, run

_DESCRIPTION = """\
Zero-shot accuracy of the built-in backbone on labelled photos, with the prompt "a photo of a
{class}.". Measures the test part of each data set, or all of it if it has none. Writes
builtin_zero_shot.json and .md to the folder --out."""


def _options(parser: ArgumentParser) -> None:
    add_common(parser, "data")
    what = "folder with other weights of the built-in backbone, such as a rebuild"
    add(parser, "--weights", None, what, type=Path, metavar="DIR")


BENCHMARK = Benchmark("builtin_zero_shot", _DESCRIPTION, _options, out=Path("builtin_zero_shot"))

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
