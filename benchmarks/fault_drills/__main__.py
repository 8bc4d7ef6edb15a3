"""`python -m benchmarks.fault_drills`."""

import sys
from argparse import ArgumentParser

from benchmarks.fault_drills.drills import ALL
from benchmarks.skeleton.options import add, add_common, positive
from benchmarks.skeleton.program import Benchmark, run

_DESCRIPTION = """\
Test that no job is lost or done twice when parts of the service fail. Starts the service as in
production (PostgreSQL, Redis, API, workers: real processes, in a temporary folder), submits jobs
and injects faults at random moments: kills, restarts, frozen services, full disks, clock jumps.
After each fault it checks that every job ended once, in the expected state and complete, and that
the next job succeeds. Writes the table and every repeat to the folder --out as fault_drills.json
and .md. The exit status is 1 if a job was lost or done twice. Needs Linux; takes about half an
hour."""


def _options(parser: ArgumentParser) -> None:
    names = [drill.name for drill in ALL]
    add(parser, "--repeats", 20, "of each drill", type=positive, metavar="N")
    what = "run only these (default: all)"
    add(parser, "--drill", None, what, nargs="+", choices=names, metavar="NAME")
    add(parser, "--database", "postgresql", "of the service", choices=("postgresql", "sqlite"))
    add_common(parser, "logs", seed=0)


BENCHMARK = Benchmark(
    "fault_drills",
    _DESCRIPTION,
    _options,
    "drills:\n" + "".join(f"  {drill.name:24}{drill.what}\n" for drill in ALL),
    passed=lambda document: (
        not any(
            repeat["verdict"]["lost"] or repeat["verdict"]["doubled"]
            for drill in document["drills"]
            for repeat in drill["every_repeat"]
        )
    ),
)

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
