"""The options of the comparison with peers."""

from argparse import ArgumentParser
from pathlib import Path

import platformdirs

from benchmarks.skeleton.options import add, add_common, positive, positive_number
from benchmarks.skeleton.program import BUSY, Benchmark
from dspt.kit.cpus import available_cpus

_DESCRIPTION = """\
Measure the service beside other ways to serve a classifier of images: LitServe with OpenVINO and
with torch, infinity (embeddings only) and a plain FastAPI program. All have a ViT-B/32 of random
weights and as many threads, and run one after the other with the same 1, 8 and 64 clients. Each
peer is installed by pip into an environment of its own at the first run: two of them, 6 GB each.
Writes serving_peers.json and .md to the folder --out; after Ctrl-C, what has been measured until
then."""


def _options(parser: ArgumentParser) -> None:
    numbers = {"type": positive, "metavar": "N"}
    what = "of each measurement"
    add(parser, "--seconds", 10.0, what, type=positive_number, metavar="N")
    add(parser, "--rounds", 2, "in which each server is started once", **numbers)
    add(parser, "--threads", available_cpus(), "of each server", **numbers)
    what = "folder with photos (default: photos of scikit-image)"
    add(parser, "--data", None, what, type=Path, dest="photos", metavar="DIR")
    folder = Path(platformdirs.user_cache_dir("dspt")) / "peers"
    what = "environments of the peers (default: the user's cache folder)"
    add(parser, "--environments", folder, what, type=Path, metavar="DIR")
    add_common(parser, "seed")


BENCHMARK = Benchmark(
    "serving.peers",
    _DESCRIPTION,
    _options,
    BUSY,
    packages=("fastapi", "uvicorn", "pydantic", "torch", "openvino", "pillow"),
    reportable=lambda document: bool(document.get("rounds")),
    files=("serving_peers.json", "serving_peers.md"),
)
