"""`python -m benchmarks.serving`."""

import sys
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path

import platformdirs

from benchmarks.skeleton.options import add, add_common, positive, positive_number
from benchmarks.skeleton.program import BUSY, Benchmark, run
from dspt.kit.cpus import available_cpus

_DESCRIPTION = """\
Measure how many images per second the service classifies, compared with its image tower alone.
Starts PostgreSQL, Redis, `dspt api` and `dspt worker` on this machine, each in a process of its
own, and 1, 8 and 64 clients that send the next request after each answer. Further measurements:
1 to 5,000 models in memory, a job that is tuned meanwhile, and more clients than may wait. The
tower and 64 clients take turns, so that each ratio is of measurements next to each other. Also
prints the CPU time of an image by part. A backbone ARCHITECTURE/random, such as ViT-B-16/random,
has random weights: as fast as the published ones, without a download. Writes serving.json and .md
to the folder --out; after Ctrl-C, what has been measured until then.

With --peers it measures the service beside other ways to serve a classifier of images instead:
LitServe with OpenVINO and with torch, infinity (embeddings only) and a plain FastAPI program. All
have a ViT-B/32 of random weights and as many threads, and run one after the other with the same
clients. Each peer is installed by pip into an environment of its own at the first run: two of them,
6 GB each. Writes serving_peers.json and .md."""

_PEERS = "--peers"


def _options(parser: ArgumentParser) -> None:
    numbers = {"type": positive, "metavar": "N"}
    what = "of each measurement (default: 8; --peers: 10)"
    add(parser, "--seconds", None, what, type=positive_number, metavar="N")
    what = "of measurements that take turns, or of all servers (default: 4; --peers: 2)"
    add(parser, "--rounds", None, what, **numbers)
    add(parser, "--threads", available_cpus(), "of each server and of the tower alone", **numbers)
    add_common(parser, "seed")
    alone = parser.add_argument_group("without --peers")
    what = "backbones; measurements other than of speed use the first one"
    add(alone, "--backbone", ["builtin", "ViT-B-16/random"], what, metavar="NAME")
    what = "numbers of models in memory, besides 1 (default: 100 1000 5000)"
    add(alone, "--models", None, what, nargs="+", **numbers)
    what = "about two minutes: the first backbone, 3 seconds, 2 rounds, up to 1,000 models"
    add(alone, "--quick", False, what, action="store_true")
    add_common(alone, "logs")
    beside = parser.add_argument_group("beside peers")
    add(beside, _PEERS, False, "compare with other servers", action="store_true")
    folder = Path(platformdirs.user_cache_dir("dspt")) / "peers"
    what = "environments of the peers (default: the user's cache folder)"
    add(beside, "--environments", folder, what, type=Path, metavar="DIR")


BENCHMARK = Benchmark(
    "serving",
    _DESCRIPTION,
    _options,
    BUSY,
    packages=("fastapi", "uvicorn", "pydantic", "torch", "openvino", "pillow"),
    needs=("aiohttp", "psutil"),
    reportable=lambda document: "PostgreSQL" in document["versions"] or "rounds" in document,
)
PEERS = replace(BENCHMARK, files=("serving_peers.json", "serving_peers.md"))

if __name__ == "__main__":
    sys.exit(run(PEERS if _PEERS in sys.argv else BENCHMARK))
