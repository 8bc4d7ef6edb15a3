"""`python -m benchmarks.hostile_input`."""

import sys
from argparse import ArgumentParser

from benchmarks.skeleton.options import add, add_common, positive
from benchmarks.skeleton.program import Benchmark, run

_DESCRIPTION = """\
Test how hostile uploads are handled. Makes archives and images of many families from a seed: paths
that leave their folder, links, false sizes, overlapping members, bombs, truncated and damaged
files, two files in one. Reads each file in a process that must not write to disk, and measures time
and memory. Then starts the service (`dspt serve`, in a temporary folder), sends every archive as a
job and every image inside a zip and to /predict, and watches memory and disk of API and worker.
Writes a table by family to the folder --out as hostile_input.json and .md. The exit status is 1 if
an answer was 500 or above, if a job failed with an internal error, if a process died or if a file
was written outside the data directory. Needs Linux; takes half an hour on two CPUs."""


def _options(parser: ArgumentParser) -> None:
    add_common(parser, "seed")
    for name, number in (("archives", 2080), ("images", 510)):
        add(parser, f"--{name}", number, f"number of {name}", type=positive, metavar="N")


BENCHMARK = Benchmark(
    "hostile_input", _DESCRIPTION, _options, passed=lambda document: bool(document["right"])
)

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
