"""`python -m benchmarks.tuning_speed`."""

from __future__ import annotations

import sys

from benchmarks.tuning_speed.cli import parse
from dspt.errors import DsptError
from dspt.kit.cpus import set_thread_defaults


def main() -> int:
    """Exit status: 0, 1 where a trainer failed, 2 for settings at fault, 130 on Ctrl-C."""
    options = parse(sys.argv[1:])
    set_thread_defaults()  # read by torch when it is imported, here and in the trainers' processes
    from benchmarks.tuning_speed.run import run
    from benchmarks.tuning_speed.worker import WorkerError

    try:
        run(options)
    except DsptError as error:
        print(error, file=sys.stderr)
        return 2
    except WorkerError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
