"""`python -m benchmarks.noise_robustness`."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import get_args

from benchmarks.noise_robustness import settings
from benchmarks.noise_robustness.settings import (
    METHODS,
    PAPER_RATES,
    UNLABELLED,
    Protocol,
    RecipeName,
)
from benchmarks.skeleton.options import add, add_common, at_least_two, json_object, positive
from benchmarks.skeleton.program import Benchmark, run
from dspt.kit.cpus import available_cpus

_DESCRIPTION = f"""\
Accuracy under label noise. Tunes CLIP's prompt on a few photos per class, some of them with wrong
labels, with several losses, and measures each on clean test images; compares with zero-shot, this
service, and logistic regression on the same features. Writes a table (table.md), figures (PNG, SVG)
and results.json to the folder --out. After Ctrl-C it reports what is finished, and the same command
resumes.

{settings.COOP_LAYOUT}"""

_EXAMPLES = """\
examples:
  a quick look: one seed, two rates
    python -m benchmarks.noise_robustness --data photos --seeds 1 --rates 0 0.5
  the protocol of the papers with a real CLIP on the data sets of CoOp's authors, all in $DATA
    python -m benchmarks.noise_robustness --data $DATA --backbone RN50/openai --recipe coop \\
        --epochs 200
  labels by human annotators, in two columns of a table, instead of injected ones
    python -m benchmarks.noise_robustness --data cifar10 --given-labels human.csv \\
        --given-column aggre worse
"""


def _options(parser: ArgumentParser) -> None:
    data = parser.add_argument_group("data")
    add_common(data, "data", "backbone", "given-labels", "given-column")
    grid = parser.add_argument_group("the grid (default: that of the papers)")
    add_common(grid, "kinds")
    protocols = list(get_args(Protocol))
    what = "global: flip a share of all few shots (NLPrompt); per_class: the same number in every "
    add(grid, "--protocols", protocols, f"{what}class (PTNL, JoAPR)", choices=protocols)
    what = "all classes of all data sets as one data set, and so many of them drawn at random: a "
    what += "data set for each number (default: the data sets as they are)"
    add(grid, "--classes", None, what, type=at_least_two, nargs="+", metavar="N")
    add_common(grid, "seeds", rates=list(PAPER_RATES), shots=[16])
    methods = parser.add_argument_group("methods")
    what = "`default` is what this service does; `default_unlabelled` also sees the training images"
    what += f" that are not drawn, without labels (default: all but {UNLABELLED})"
    given = [method for method in METHODS if method != UNLABELLED]
    add(methods, "--methods", given, what, choices=METHODS)
    what = "how the single losses are tuned: project, with this project's learning rates; coop, as "
    what += "in CoOp and the papers: learning rate 0.002, 16 random context vectors, crops, flips"
    add(methods, "--recipe", "project", what, choices=get_args(RecipeName))
    what = "of the single losses (default: as the service, or 50 with --recipe coop; CoOp uses 200 "
    add(methods, "--epochs", None, f"{what}for 16 shots)", type=positive, metavar="N")
    what = "settings of the service for the method `default`, such as '{\"epochs\": 100}'"
    add(methods, "--default-config", {}, what, type=json_object, metavar="JSON")
    add_common(methods, "logistic-c")
    running = parser.add_argument_group("running")
    add_common(running, "device", "precision", "features", "budget", jobs=available_cpus())


BENCHMARK = Benchmark(
    "noise_robustness",
    _DESCRIPTION,
    _options,
    _EXAMPLES,
    out=Path("noise_robustness"),
    reportable=lambda document: bool(document.get("cells")),
    files=("results.json", "table.md"),
    needs=("matplotlib", "sklearn", "cleanlab"),
)

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
