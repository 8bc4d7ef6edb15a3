"""`python -m benchmarks.load`."""

import sys
from argparse import ArgumentParser

from benchmarks.skeleton.options import add, add_common, positive, positive_number
from benchmarks.skeleton.program import BUSY, Benchmark, run

_DESCRIPTION = """\
Measure how the service behaves under load. Starts PostgreSQL, Redis, `dspt api` and `dspt worker`
on this machine, each in a process of its own. While jobs are tuned, it submits jobs, polls them,
predicts, and listens to their events. Requests are sent at random moments, whether or not earlier
ones have been answered; latency counts from these moments. Prints percentiles of latency and of the
delay of events, errors by status, memory over time and the delay of the load generator itself, and
writes them to the folder --out as load.json and .md. Needs no data and no downloads."""


def _options(parser: ArgumentParser) -> None:
    for name, default, what in (
        ("--minutes", 10.0, "duration of the measurement in minutes"),
        ("--warm-up", 30.0, "seconds of load before the measurement"),
        ("--polls-per-second", 200.0, "GET /jobs/{id}, half of running and half of ended jobs"),
        ("--predictions-per-second", 1.0, "POST /predict with one photo"),
        ("--submits-per-minute", 3.0, "POST /jobs with a zip of photos"),
        ("--stays", 60.0, "seconds after which a listener reconnects, on average"),
        ("--pause", 5.0, "maximum seconds before a listener turns to the next job"),
        ("--listeners", 200, "listeners to events, each with its own connection"),
        ("--workers", 1, "number of workers"),
        ("--epochs", 600, "epochs of each job"),
    ):
        kind = positive_number if isinstance(default, float) else positive
        dest = name.strip("-").partition("-per-")[0].replace("-", "_")  # as in the stored results
        add(parser, name, default, what, type=kind, metavar="N", dest=dest)
    engines = ("auto", "openvino", "torch")
    add(parser, "--engine", "auto", "engine of the image tower", choices=engines)
    add_common(parser, "seed", "logs")


BENCHMARK = Benchmark(
    "load",
    _DESCRIPTION,
    _options,
    BUSY,
    packages=("fastapi", "uvicorn", "sqlalchemy", "psycopg", "pydantic", "celery", "torch"),
    needs=("aiohttp", "psutil"),
)

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
