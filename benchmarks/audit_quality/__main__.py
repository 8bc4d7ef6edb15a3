"""`python -m benchmarks.audit_quality`."""

import sys
from argparse import ArgumentParser
from pathlib import Path

from benchmarks.noise_robustness import settings
from benchmarks.skeleton.options import add, add_common
from benchmarks.skeleton.program import Benchmark, run

_DESCRIPTION = f"""\
How well wrong labels are found. Draws a few shots per class from each data set and makes a share of
their labels wrong; this service's audit and cleanlab on the same features rank the labels by
suspicion. Writes ROC-AUC, precision at k (the number of wrong labels), recall after reviewing a
tenth, the labels called wrong (at 0 % these are false alarms), and the estimated share of wrong
labels with its interval to the folder --out as audit_quality.json and .md. After Ctrl-C it reports
what is finished, and the same command resumes.

{settings.COOP_LAYOUT}"""

_EXAMPLES = """\
examples:
  a quick look: one seed, two rates
    python -m benchmarks.audit_quality --data photos --seeds 1 --rates 0 0.25
  labels by human annotators, in two columns of a table, instead of injected ones
    python -m benchmarks.audit_quality --data cifar10 --given-labels human.csv \\
        --given-column aggre worse
"""


def _options(parser: ArgumentParser) -> None:
    add_common(parser, "data", "protocol", "shots", "seeds", rates=[0.0, 0.1, 0.25, 0.5])
    add_common(parser, "kinds", "given-labels", "given-column", "logistic-c")
    what = "measure the audit alone, without the methods that it is compared with: much faster"
    add(parser, "--audit-only", False, what, action="store_true")
    add_common(parser, "backbone", "config", "device", "precision", "features")
    add_common(parser, "jobs", "budget")


BENCHMARK = Benchmark(
    "audit_quality",
    _DESCRIPTION,
    _options,
    _EXAMPLES,
    out=Path("audit_quality"),
    reportable=lambda document: bool(document.get("cells")),
    needs=("cleanlab", "sklearn"),
)

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
