"""`python -m benchmarks.serving`."""

import sys
from argparse import ArgumentParser
from pathlib import Path

from benchmarks.serving.peers.benchmark import BENCHMARK as PEERS
from benchmarks.skeleton.options import add, add_common, positive, positive_number
from benchmarks.skeleton.program import BUSY, Benchmark, run
from dspt.kit.cpus import available_cpus

_DESCRIPTION = """\
Measure how many images per second the service classifies, compared with its image tower alone.
Starts PostgreSQL, Redis, `dspt api` and `dspt worker` on this machine, each in a process of its
own, and 1, 8 and 64 clients that send the next request after each answer. Further measurements:
1 to 5,000 models in memory, an alias that moves, a job that is tuned meanwhile, and more clients
than may wait. The tower and 64 clients take turns, so that each ratio is of measurements next to
each other. Also prints the CPU time of an image by part. A backbone ARCHITECTURE/random, such as
ViT-B-16/random, has random weights: as fast as the published ones, without a download. Writes
serving.json and .md to the folder --out; after Ctrl-C, what has been measured until then.
`--peers` measures other servers beside this one instead, and has options of its own:
`python -m benchmarks.serving --peers --help`."""

_PEERS = "--peers"


def _options(parser: ArgumentParser) -> None:
    what = "backbones; measurements other than of speed use the first one"
    add(parser, "--backbone", ["builtin", "ViT-B-16/random"], what, metavar="NAME")
    numbers = {"type": positive, "metavar": "N"}
    what = "numbers of models in memory, besides 1 (default: 100 1000 5000)"
    add(parser, "--models", None, what, nargs="+", **numbers)
    what = "of each measurement (default: 8)"
    add(parser, "--seconds", None, what, type=positive_number, metavar="N")
    add(parser, "--rounds", None, "of measurements that take turns (default: 4)", **numbers)
    what = "about two minutes: the first backbone, 3 seconds, 2 rounds, up to 1,000 models"
    add(parser, "--quick", False, what, action="store_true")
    add(parser, "--threads", available_cpus(), "of the API and of the tower alone", **numbers)
    what = "folder with photos (default: photos of scikit-image)"
    add(parser, "--data", None, what, type=Path, dest="photos", metavar="DIR")
    add_common(parser, "seed", "logs")


BENCHMARK = Benchmark(
    "serving",
    _DESCRIPTION,
    _options,
    BUSY,
    packages=("fastapi", "uvicorn", "pydantic", "torch", "openvino", "pillow"),
    reportable=lambda document: "PostgreSQL" in document["versions"],
)

if __name__ == "__main__":
    arguments = sys.argv[1:]
    peers = _PEERS in arguments
    sys.exit(run(PEERS if peers else BENCHMARK, [each for each in arguments if each != _PEERS]))
